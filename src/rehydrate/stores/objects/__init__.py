"""Containers in object stores: ranges of S3, Azure and Google objects, and thaws of archived ones.

``store`` reads, ``thawing`` puts thaws of archive tiers in front of it, ``archive`` knows the calls
of the services for that. The package obstore is needed (``pip install 'rehydrate[object]'``).
"""
