"""Take the whole images out of an archive that was cut: what came over a slow line before a kill is not lost.

A cut .zip file has lost its directory, which stands at its end, and zipfile refuses it. But NBIA writes its archives as
a stream: a header, the deflated file, then its CRC-32 and sizes, for one file after the other (APPNOTE.TXT of PKWARE,
4.3.7 and 4.3.9), and deflated data say themselves where they end.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

HEADER = struct.Struct(
    "<4s5H3I2H"
)  # signature, version, flags, method, time, date, CRC, sizes, lengths of name and extra
TRAILER = struct.Struct("<4s3I")  # signature, CRC, deflated size, size
ENCRYPTED, STREAMED, DEFLATED = 0x1, 0x8, 8
CHUNK = 1 << 18


def whole_files(cut: Path, scratch: Path, max_bytes: int) -> Iterator[str]:
    """Write each file of a cut archive that is whole, by CRC-32 and size, to one and the same scratch file.

    Stops at the first entry that is cut, damaged, or in a form that NBIA doesn't write.

    Parameters
    ----------
    cut : Path
        The beginning of an archive.
    scratch : Path
        Holds the file whose name was given last; take it before asking for the next. Removed at the end.
    max_bytes : int
        The most that one file may have.

    Yields
    ------
    str
        The name that the archive has for the file.
    """
    try:
        with cut.open("rb") as archive:
            while (name := _next_entry(archive)) is not None:
                with scratch.open("wb") as file:
                    if not _inflate(archive, file, max_bytes):
                        return
                yield name
    finally:
        scratch.unlink(missing_ok=True)


def _next_entry(archive: BinaryIO) -> str | None:
    """Read the header of an entry up to its data, and give the entry's name."""
    header = archive.read(HEADER.size)
    if len(header) < HEADER.size:
        return None
    signature, _, flags, method, _, _, _, _, _, name_length, extra_length = HEADER.unpack(header)
    if signature != b"PK\x03\x04" or flags & (ENCRYPTED | STREAMED) != STREAMED or method != DEFLATED:
        return None
    name = archive.read(name_length)
    archive.seek(extra_length, 1)
    return name.decode("ascii", "replace")


def _inflate(archive: BinaryIO, file: BinaryIO, max_bytes: int) -> bool:
    """Write the data of one entry, a chunk at a time; say whether the CRC-32 and sizes after it are theirs."""
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    start, size, crc = archive.tell(), 0, 0
    while not inflater.eof:
        deflated = inflater.unconsumed_tail or archive.read(CHUNK)
        if not deflated or size > max_bytes:
            return False
        try:
            data = inflater.decompress(deflated, CHUNK)
        except zlib.error:
            return False
        file.write(data)
        size, crc = size + len(data), zlib.crc32(data, crc)
    end = archive.seek(-len(inflater.unused_data), 1)
    return archive.read(TRAILER.size) == TRAILER.pack(b"PK\x07\x08", crc, (end - start) & 0xFFFFFFFF, size & 0xFFFFFFFF)
