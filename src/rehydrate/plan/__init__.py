"""From stream maps to reads: which stored bytes, in which order, in how many calls. Pure."""
