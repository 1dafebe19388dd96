"""LTFS volumes: labels and indexes, where files lie on tape, and a store over several volumes."""
