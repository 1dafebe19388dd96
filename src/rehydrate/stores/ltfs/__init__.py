"""LTFS volumes: labels and indexes, where files lie on tape, and a store over several volumes.

Reading what a tape says of itself: ``xml``, ``label``, ``index``, ``table``, ``newest``; ``volume`` is
all of it together, from a tape or from saved copies, ``mounted`` the same of a volume that the system
has mounted. Restoring: ``store`` is the entrance, which asks ``catalogue`` where containers are,
``ordering`` in which order they are read, ``mounting`` for the volume in a drive, and ``reading`` for
bytes; the drives are in :mod:`rehydrate.stores.tape`.
"""
