"""Adapters: one module for each kind of place that holds a backup."""
