# Used by rehydrate.formats for the checks of records; the calls that we make, and no more.
from typing import Protocol

class _Readable(Protocol):
    def __buffer__(self, flags: int, /) -> memoryview: ...

class _CRC:
    def calc(self, data: _Readable, init: int | None = None) -> int: ...

def CRC(
    width: int,
    poly: int,
    init: int,
    refin: bool,
    refout: bool,
    xorout: int,
    check: int | None = None,
) -> _CRC: ...
def Model(name: str) -> _CRC: ...
