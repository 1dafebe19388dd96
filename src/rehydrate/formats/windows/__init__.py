"""The Windows Server deduplication store format: bytes only."""
