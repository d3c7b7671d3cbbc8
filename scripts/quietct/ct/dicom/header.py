"""Read what a DICOM file says about itself, without its pixels and without trusting a number in it.

No text of pydicom reaches the user: its warnings and errors may quote a patient's name.
"""

from __future__ import annotations

import logging
import lzma
import struct
import unicodedata
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import IO, Any
from zipfile import BadZipFile

from pydicom import Dataset, config
from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_dataset, read_partial
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from quietct.errors import UserError

MIB = 1 << 20
UNCOMPRESSED = (
    ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian,
)  # fmt: skip
LONGEST_ATTRIBUTE = 256 * MIB  # the descriptions of a few thousand frames need a few
PREAMBLE, MARK = 128, b"DICM"
UNDEFINED_LENGTH, ITEM = 0xFFFFFFFF, b"\xfe\xff\x00\xe0"
PIXEL_DATA = 0x7FE00010
PIXELS = {0x7FE00008, 0x7FE00009, PIXEL_DATA}  # of CT only the last one
LONG_LENGTH = (b"OB", b"OW", b"UN")  # value representations of pixels, all with a length of 32 bits
# With these a header begins where the preamble is missing: Group Length, Character Set, Image Type, dates, SOP Class.
FIRST_TAGS = {(0x0008, element) for element in (0x0000, 0x0001, 0x0005, 0x0008, 0x0012, 0x0016)} | {(0x0002, 0x0000)}


@dataclass(frozen=True)
class Header:
    """Attributes of a file, and where in it the pixels are.

    Attributes
    ----------
    dataset : Dataset
        Of the attributes before the pixels, those that were asked for.
    sop_class : str
        UID of the kind of object.
    syntax : UID
        How the file is encoded.
    start : int or None
        Where the value of Pixel Data starts, in bytes from the start of the (inflated) file; None if there is none.
    length : int
        How long it says it is (bytes); `UNDEFINED_LENGTH` if it comes in fragments.
    size : int
        Of the (inflated) file in bytes.
    cut : bool
        Whether the file ends before the last fragment of the pixels does.
    """

    dataset: Dataset
    sop_class: str
    syntax: UID
    start: int | None
    length: int
    size: int
    cut: bool


@contextmanager
def quiet_pydicom() -> Iterator[None]:
    """Keep pydicom from checking values and from saying anything: its texts quote them."""
    logger = logging.getLogger("pydicom")
    level = logger.level
    if level > logging.CRITICAL:  # it is quiet already
        yield
        return
    with config.disable_value_validation(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logger.setLevel(logging.CRITICAL + 1)
        try:
            yield
        finally:
            logger.setLevel(level)


class BoundedFile:
    """A file for reading that never reserves more memory than it has bytes, whatever length is asked for.

    Where it was deflated, this is the inflated one.
    """

    def __init__(self, file: IO[bytes], size: int, deflated: bool = False) -> None:
        self.file, self.size, self.deflated = file, size, deflated
        self.seek, self.tell = file.seek, file.tell

    def read(self, count: int = -1) -> bytes:
        """Read at most `count` bytes; as few as there are."""
        if not 0 <= count < MIB:
            left = max(self.size - self.tell(), 0)
            count = left if count < 0 else min(count, left)
        return self.file.read(count)


def bounded(file: IO[bytes], size: int, name: str) -> BoundedFile:
    """Give a file as pydicom can read it safely; a deflated one (PS3.5 A.5) is inflated, within bounds.

    Parameters
    ----------
    file : binary file
        At its start.
    size : int
        Its length in bytes.
    name : str
        What to call it in messages.

    Returns
    -------
    BoundedFile
        At its start, never deflated.

    Raises
    ------
    UserError
        If it cannot be inflated, or would become unreasonably large.
    InvalidDicomError
        If it is no DICOM file.
    """
    safe = BoundedFile(file, size)
    first = safe.read(PREAMBLE + len(MARK))
    if first[PREAMBLE:] != MARK:
        if _looks_bare(first):
            raise UserError(
                f"{name} looks like DICOM, but lacks the mark `DICM` that every DICOM file has after its first "
                "128 bytes. Rewrite it (for example with dcmconv of DCMTK) or remove it."
            )
        raise InvalidDicomError
    meta = read_dataset(safe, False, True, stop_when=_past_meta, specific_tags=[0x00020010])  # type: ignore[arg-type]
    if meta.get("TransferSyntaxUID") != DeflatedExplicitVRLittleEndian:
        safe.seek(0)
        return safe
    end = safe.tell()
    packed = safe.read()
    limit = max(64 * MIB, 100 * len(packed))  # noise of a scanner never packs to a hundredth
    try:
        data = zlib.decompressobj(-zlib.MAX_WBITS).decompress(packed, limit + 1)
    except zlib.error:
        raise UserError(f"{name} is a damaged DICOM file (it cannot be inflated). Replace or remove it.") from None
    if len(data) > limit:
        raise UserError(f"{name} would inflate to more than {limit // MIB} MB, which no CT does. Replace or remove it.")
    safe.seek(0)
    plain = ExplicitVRLittleEndian.encode().ljust(len(DeflatedExplicitVRLittleEndian), b"\0")
    head = safe.read(end).replace(DeflatedExplicitVRLittleEndian.encode(), plain)
    return BoundedFile(BytesIO(head + data), len(head) + len(data), deflated=True)


def _looks_bare(first: bytes) -> bool:
    """Whether a file starts like a data set, without preamble and mark."""
    if len(first) < 8:
        return False
    tag, length = struct.unpack("<HH", first[:4]), struct.unpack("<L", first[4:8])[0]
    return tag in FIRST_TAGS and ((first[4:6].isalpha() and first[4:6].isupper()) or length <= 64)


def read_header(file: IO[bytes], size: int, name: str, tags: list[int]) -> Header | None:
    """Read some of a file's attributes; the file is left open.

    Parameters
    ----------
    file : binary file
        At its start.
    size : int
        Its length in bytes.
    name : str
        What to call it in messages.
    tags : list of int
        Which attributes; others are not even held in memory.

    Returns
    -------
    Header or None
        None if it isn't a DICOM file.

    Raises
    ------
    UserError
        If it is a DICOM file but cannot be read.
    """
    try:
        safe = bounded(file, size, name)
        # What dcmread does, but for converting the tags, which takes as long as reading them.
        dataset = read_partial(safe, _at_pixels, LONGEST_ATTRIBUTE, specific_tags=tags)  # type: ignore[arg-type]
        start, length = _pixel_data(safe, dataset)
        syntax = DeflatedExplicitVRLittleEndian if safe.deflated else _syntax(dataset)
        cut = length == UNDEFINED_LENGTH and syntax not in UNCOMPRESSED and not _all_there(safe)
        return Header(dataset, _sop_class(dataset), syntax, start, length, safe.size, cut)
    except InvalidDicomError:
        return None
    except (UserError, BadZipFile, zlib.error, lzma.LZMAError):
        raise
    except Exception as error:  # pydicom raises almost anything on damaged files
        if isinstance(error, OSError) and error.errno is not None:
            raise UserError(f"{name} cannot be read ({error.strerror}).") from None
        raise UserError(f"{name} is a damaged DICOM file. Replace or remove it.") from None


def _past_meta(tag: int, kind: str | None, length: int) -> bool:
    return tag >> 16 != 2


def _at_pixels(tag: int, kind: str | None, length: int) -> bool:
    return tag & 0xFFFFFFFF in PIXELS


def _sop_class(dataset: Dataset) -> str:
    """Tell what kind of object a file holds; where the header is cut off, its first lines still say."""
    return str(dataset.get("SOPClassUID") or dataset.file_meta.get("MediaStorageSOPClassUID", ""))


def _syntax(dataset: Dataset) -> UID:
    implicit, little = dataset.original_encoding
    found = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian if little else ExplicitVRBigEndian
    return UID(str(dataset.file_meta.get("TransferSyntaxUID") or found))


def _pixel_data(file: BoundedFile, dataset: Dataset) -> tuple[int | None, int]:
    """Read the tag and the length before which pydicom stopped: the start of the pixels' value, and its length."""
    implicit, little = dataset.original_encoding
    order = "<" if little else ">"
    group, element, kind, length = struct.unpack(f"{order}HH2sH", file.read(8).ljust(8, b"\0"))
    if group << 16 | element != PIXEL_DATA:
        return None, 0
    if implicit:
        file.seek(file.tell() - 4)
    elif kind not in LONG_LENGTH:
        return None, 0
    (length,) = struct.unpack(f"{order}L", file.read(4).ljust(4, b"\0"))
    return file.tell(), length


def _all_there(file: BoundedFile) -> bool:
    """Whether the fragments of compressed pixels end in the file; a decoder might make up what is cut off."""
    at = file.tell()
    while (item := file.read(8))[:4] == ITEM:
        at += 8 + int.from_bytes(item[4:], "little")
        file.seek(at)
    return at <= file.size


def clean_text(value: Any) -> str | None:
    r"""Text of an attribute without control characters; several values joined by a backslash; None if empty."""
    if value is None:
        return None
    text = value if isinstance(value, str) else "\\".join(str(part) for part in value)
    if not text.isprintable():  # most is
        text = "".join(c for c in text if unicodedata.category(c)[0] != "C")
    return text.strip() or None
