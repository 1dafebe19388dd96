"""The engine: the only room where store, formats, plan and staging meet."""
