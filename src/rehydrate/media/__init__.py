"""Models of media, pure: where data lies on a tape, which order is quick, what a thaw costs."""
