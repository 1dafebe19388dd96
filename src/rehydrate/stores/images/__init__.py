"""Disk images, their partitions, shadow copies and backup folders: down to one volume's bytes.

Nothing here knows a file system; each module hands on byte sources, and nothing is ever written.
"""
