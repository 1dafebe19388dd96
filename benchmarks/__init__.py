"""Benchmarks: a generated data set, contenders in alternating runs, and the table of what was met.

Run them with ``python -m benchmarks``; ``docs/explanation/performance.md`` says what is measured.
"""
