"""The destination's side: names, workspace, staged files, durable publishing, resume."""
