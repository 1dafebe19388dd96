"""Encoders of the three codecs of Windows chunks: LZNT1, plain XPRESS, XPRESS Huffman.

They stand beside the decoders as the other half of a proof, so they share no code with them. The
formats are those of [MS-XCA] (Microsoft, "Xpress Compression Algorithm"): 2.1 Huffman, 2.3 plain
LZ77, 2.5 LZNT1.

A text is parsed into steps ``(literals, length, offset)``: copy the literals, then ``length``
bytes from ``offset`` bytes back; a step without a match has length 0. Each codec writes steps, so
a test can also make up its own: all literals, matches of any length, odd nibbles.
"""

import heapq
from collections.abc import Iterable, Iterator
from typing import Final

LZNT1: Final = 1
XPRESS: Final = 2
XPRESS_HUFFMAN: Final = 3

type_of_steps = Iterable[tuple[bytes, int, int]]

XPRESS_WINDOW: Final = 8192
HUFFMAN_WINDOW: Final = 65535
HUFFMAN_BLOCK: Final = 65536
LZNT1_CHUNK: Final = 4096
END_OF_DATA: Final = 256


def encode(method: int, data: bytes) -> bytes:
    """Compress one chunk as its record's compression field says.

    Args:
        method: 1 LZNT1, 2 plain XPRESS, 3 XPRESS Huffman.
        data: The logical bytes.

    Returns:
        The stored bytes; they may be longer than ``data`` where nothing repeats.
    """
    return {LZNT1: encode_lznt1, XPRESS: encode_xpress, XPRESS_HUFFMAN: encode_huffman}[method](
        data
    )


def encode_literal(method: int, data: bytes) -> bytes:
    """Code every byte as a literal (LZNT1: in plain chunks): valid, without a single match."""
    if method == LZNT1:
        return b"".join(
            lznt1_plain(data[at : at + LZNT1_CHUNK]) for at in range(0, len(data), LZNT1_CHUNK)
        )
    if method == XPRESS:
        return xpress_of_steps([(data, 0, 0)])
    return huffman_of_blocks(
        [(data[at : at + HUFFMAN_BLOCK], 0, 0)] for at in range(0, len(data) or 1, HUFFMAN_BLOCK)
    )


def common_length(data: bytes, older: int, newer: int, end: int) -> int:
    """Count how many bytes repeat: double the stride while it fits, then halve it."""
    start, stride = newer, 16
    growing = True
    while newer < end:
        take = min(stride, end - newer)
        if data[older : older + take] == data[newer : newer + take]:
            older += take
            newer += take
            stride = stride * 2 if growing else stride
        elif take == 1:
            break
        else:
            growing = False
            stride = take // 2
    return newer - start


def steps_of(
    data: bytes, start: int, end: int, window: int, seen: dict[bytes, int]
) -> Iterator[tuple[bytes, int, int]]:
    """Find repeats greedily, with a table of the last place of each three bytes.

    Args:
        data: The whole text.
        start: First byte of the part to parse.
        end: Its end; no match reaches beyond.
        window: Largest offset of a match.
        seen: Places so far; kept by the caller, so that blocks can share a window.

    Yields:
        Steps that give ``data[start:end]``.
    """
    at = literal = start
    misses = 0
    last = end - 3
    while at <= last:
        key = data[at : at + 3]
        older = seen.get(key, -1)
        seen[key] = at
        if older < 0 or at - older > window:
            misses += 1
            at += 1 + (misses >> 6)  # what does not repeat is passed faster and faster
            continue
        length = 3 + common_length(data, older + 3, at + 3, end)
        yield data[literal:at], length, at - older
        literal = at + length
        for place in range(at + 1, min(literal, at + 8, end - 2)):
            seen[data[place : place + 3]] = place
        for place in range(max(at + 8, literal - 4), min(literal, end - 2)):
            seen[data[place : place + 3]] = place
        at = literal
        misses = 0
    if literal < end:
        yield data[literal:end], 0, 0


# ---- plain XPRESS


def encode_xpress(data: bytes) -> bytes:
    """Compress with plain LZ77; any length, and a run of zeros of any size takes a few bytes."""
    return xpress_of_steps(steps_of(data, 0, len(data), XPRESS_WINDOW, {}))


def xpress_of_steps(steps: type_of_steps) -> bytes:
    """Write steps as plain XPRESS, flag words and shared nibbles as [MS-XCA] 2.3 says.

    A flag word is laid down as soon as the one before it is full, even if nothing follows.
    """
    out = bytearray(4)
    flags_at, flags, free = 0, 0, 32
    nibble_at = -1

    def close_flags() -> None:
        nonlocal flags_at, flags, free
        out[flags_at : flags_at + 4] = flags.to_bytes(4, "little")
        flags_at, flags, free = len(out), 0, 32
        out.extend(bytes(4))

    for literals, length, offset in steps:
        done, count = 0, len(literals)
        while count - done >= free:
            out += literals[done : done + free]
            done += free
            flags <<= free
            close_flags()
        out += literals[done:]
        flags <<= count - done
        free -= count - done
        if length:
            nibble_at = xpress_match(out, length, offset, nibble_at)
            flags = flags << 1 | 1
            free -= 1
            if not free:
                close_flags()
    out[flags_at : flags_at + 4] = ((flags << free) | ((1 << free) - 1)).to_bytes(4, "little")
    return bytes(out)


def xpress_match(out: bytearray, length: int, offset: int, nibble_at: int) -> int:
    """Append one match.

    Args:
        out: Where to append; a half-used byte in it may be filled up.
        length: Bytes to copy, 3 or more.
        offset: How far back, 1 to 8192.
        nibble_at: Place of the byte whose high half is free, or -1.

    Returns:
        The new place of a half-used byte, or -1.
    """
    rest = length - 3
    out += ((offset - 1) << 3 | min(rest, 7)).to_bytes(2, "little")
    if rest < 7:
        return nibble_at
    nibble = min(rest - 7, 15)
    if nibble_at < 0:
        nibble_at = len(out)
        out.append(nibble)
    else:
        out[nibble_at] |= nibble << 4
        nibble_at = -1
    if nibble == 15:
        out += long_length(rest, 22)
    return nibble_at


def long_length(rest: int, start: int) -> bytes:
    """Write a length that fits in no nibble: one byte, or 255 and two, or 255, two zeros and four.

    Args:
        rest: The length, less 3.
        start: What the fields before this one amount to.
    """
    if rest - start < 255:
        return bytes([rest - start])
    if rest < 1 << 16:
        return b"\xff" + rest.to_bytes(2, "little")
    return b"\xff\0\0" + rest.to_bytes(4, "little")


# ---- LZNT1


def encode_lznt1(data: bytes) -> bytes:
    """Compress chunk by chunk of 4096 bytes; one that does not shrink is stored plain."""
    out = bytearray()
    for at in range(0, len(data), LZNT1_CHUNK):
        part = data[at : at + LZNT1_CHUNK]
        body = lznt1_body(steps_of(part, 0, len(part), LZNT1_CHUNK, {}))
        out += lznt1_framed(body) if len(body) < len(part) else lznt1_plain(part)
    return bytes(out)


def lznt1_plain(part: bytes) -> bytes:
    """Store a chunk as it is."""
    return (0x3000 | len(part) - 1).to_bytes(2, "little") + part


def lznt1_framed(body: bytes) -> bytes:
    """Set the header of a compressed chunk before its body, at most 4096 bytes."""
    return (0xB000 | len(body) - 1).to_bytes(2, "little") + body


def lznt1_body(steps: type_of_steps) -> bytes:
    """Write steps as the body of one chunk; a match that is too long for its place is cut."""
    out = bytearray()
    flags_at, used, at = 0, 8, 0
    for literals, whole, offset in steps:
        tokens = [bytes([byte]) for byte in literals]
        at += len(literals)
        rest = whole
        while rest:
            length_bits = 16 - max(4, (at - 1).bit_length())
            length = min(rest, (1 << length_bits) + 2)
            if 0 < rest - length < 3:  # no match of one or two bytes
                length = rest - 3
            word = (offset - 1) << length_bits | (length - 3)
            tokens.append(word.to_bytes(2, "little"))
            at += length
            rest -= length
        for token in tokens:
            if used == 8:
                flags_at, used = len(out), 0
                out.append(0)
            out[flags_at] |= (len(token) - 1) << used
            used += 1
            out += token
    return bytes(out)


# ---- XPRESS Huffman


def encode_huffman(data: bytes) -> bytes:
    """Compress in blocks of 64 KiB, each with its own code; offsets reach into blocks before."""
    seen: dict[bytes, int] = {}
    return huffman_of_blocks(
        steps_of(data, at, min(at + HUFFMAN_BLOCK, len(data)), HUFFMAN_WINDOW, seen)
        for at in range(0, len(data) or 1, HUFFMAN_BLOCK)
    )


def huffman_of_blocks(blocks: Iterable[type_of_steps], *, end_mark: bool = True) -> bytes:
    """Write blocks of steps; the last one carries the end mark, symbol 256.

    Args:
        blocks: Steps of each block, which give 64 KiB except in the last one.
        end_mark: Write the mark, as Windows does; other encoders may leave it out.
    """
    symbols = [symbols_of(steps) for steps in blocks]
    if end_mark:
        symbols[-1].append((END_OF_DATA, b"", 0, 0))
    return b"".join(map(huffman_block, symbols))


def symbols_of(steps: type_of_steps) -> list[tuple[int, bytes, int, int]]:
    """Turn steps into ``(symbol, bytes after it, offset bits, their number)``."""
    found = []
    for literals, length, offset in steps:
        found += [(byte, b"", 0, 0) for byte in literals]
        if length:
            rest = length - 3
            width = offset.bit_length() - 1
            extra = long_length(rest, 15) if rest >= 15 else b""
            symbol = 256 | width << 4 | min(rest, 15)
            found.append((symbol, extra, offset - (1 << width), width))
    return found


def code_lengths(counts: dict[int, int], limit: int = 15) -> dict[int, int]:
    """Make a complete prefix code of at most ``limit`` bits; flatten the counts until it fits."""
    counts = dict(counts)
    for filler in (0, 1):  # a code of one symbol would not be complete
        if len(counts) < 2:
            counts.setdefault(filler, 1)
    while True:
        heap: list[tuple[int, int, list[int]]] = [
            (count, symbol, [symbol]) for symbol, count in counts.items()
        ]
        heapq.heapify(heap)
        lengths = dict.fromkeys(counts, 0)
        while len(heap) > 1:
            few, _, left = heapq.heappop(heap)
            more, name, right = heapq.heappop(heap)
            for symbol in left + right:
                lengths[symbol] += 1
            heapq.heappush(heap, (few + more, name, left + right))
        if max(lengths.values()) <= limit:
            return lengths
        counts = {symbol: (count >> 1) + 1 for symbol, count in counts.items()}


def huffman_block(symbols: list[tuple[int, bytes, int, int]]) -> bytes:
    """Write the table of 512 code lengths and the symbols of one block.

    Bits fill 16-bit words from the top; two words are always kept open, and whole bytes go behind
    them, as the decoder of [MS-XCA] 2.2 reads 32 bits ahead.
    """
    counts: dict[int, int] = {}
    for symbol, *_ in symbols:
        counts[symbol] = counts.get(symbol, 0) + 1
    lengths = code_lengths(counts)
    codes: dict[int, tuple[int, int]] = {}
    code = width = 0
    for length, symbol in sorted((length, symbol) for symbol, length in lengths.items()):
        code <<= length - width
        width = length
        codes[symbol] = code, length
        code += 1
    out = bytearray(
        lengths.get(even, 0) | lengths.get(even + 1, 0) << 4 for even in range(0, 512, 2)
    )
    out += bytes(4)
    word_at, next_at = 256, 258
    bits, free = 0, 16
    for symbol, extra, offset, offset_width in symbols:
        for (value, size), tail in ((codes[symbol], extra), ((offset, offset_width), b"")):
            bits = bits << size | value
            free -= size
            if free < 0:
                out[word_at : word_at + 2] = (bits >> -free).to_bytes(2, "little")
                word_at, next_at = next_at, len(out)
                out += b"\0\0"
                bits &= (1 << -free) - 1
                free += 16
            out += tail
    out[word_at : word_at + 2] = (bits << free).to_bytes(2, "little")
    return bytes(out)
