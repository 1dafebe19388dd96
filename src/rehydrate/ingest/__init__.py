"""The writing side: source trees become versions of a native store."""
