"""Tape drives: the small interface that tape stores read through, and the drives we know.

:mod:`~rehydrate.stores.tape.drive` is the interface, :mod:`~rehydrate.stores.tape.image` a tape in
files, :mod:`~rehydrate.stores.tape.linux_st` and :mod:`~rehydrate.stores.tape.linux_sg` real
drives, and :mod:`~rehydrate.stores.tape.stream` reads ahead of its user.
"""
