"""What a native store holds: versions, entries, selection, verification."""
