"""Models of media, pure: where data lies on a tape, which order is quick, what a thaw costs.

Tapes, each module on those before it: :mod:`~rehydrate.media.geometry` (where a block lies),
:mod:`~rehydrate.media.locate` (seconds from place to place), :mod:`~rehydrate.media.segments` (what is
wanted, as columns), :mod:`~rehydrate.media.pricing` (all pairs at once),
:mod:`~rehydrate.media.assignment` and :mod:`~rehydrate.media.search` (orders),
:mod:`~rehydrate.media.ordering` (the entrance: which order is kept, and why) and
:mod:`~rehydrate.media.volumes` (which volume in which drive when). Apart from these,
:mod:`~rehydrate.media.rao` is the bytes of drives that order by themselves, and
:mod:`~rehydrate.media.media_file` a file that says what lies where.

Archives: :mod:`~rehydrate.media.prices` (the table) and :mod:`~rehydrate.media.tiers` (waves).
"""
