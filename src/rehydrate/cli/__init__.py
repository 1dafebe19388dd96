"""The command line: ``rehydrate``; nothing of the package imports it."""
