"""The native store format, byte for byte as ``docs/reference/native-format.md`` says."""
