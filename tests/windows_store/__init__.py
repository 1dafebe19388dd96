"""Writes Windows Server deduplication stores for the tests, strict and complete."""
