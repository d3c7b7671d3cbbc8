"""Bring a data set of any encoding to explicit little endian, byte for byte, without what nobody can vouch for."""

from __future__ import annotations

import logging

import numpy as np
from pydicom import Dataset, Sequence
from pydicom.datadict import dictionary_VR, keyword_for_tag
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.tag import BaseTag

logger = logging.getLogger(__name__)

# Bytes of a number in the value representations that have an order of bytes (PS3.5 7.3).
NUMBER_BYTES = {
    "AT": 2, "OW": 2, "SS": 2, "US": 2, "FL": 4, "OF": 4, "OL": 4, "SL": 4, "UL": 4, "FD": 8, "OD": 8, "OV": 8,
    "SV": 8, "UV": 8,
}  # fmt: skip
FILLED_WITH_ZERO = {"UI", "OB", "UN"}  # text is filled up with a space


def explicit_little_endian(dataset: Dataset, signed: bool = False) -> Dataset:
    """Copy a data set as pydicom writes it in Explicit VR Little Endian, with all values as they were in the file.

    pydicom's own way decodes texts and encodes them again, which spoils those in another character set than they say,
    fails on values that break a rule, and leaves the bytes of overlays in their order.

    Parameters
    ----------
    dataset : Dataset
        As read from a file, in any encoding.
    signed : bool, optional
        Whether pixels are signed, where the data set does not say it itself.

    Returns
    -------
    Dataset
        Of its own elements. It lacks private attributes, here and in all sequences, and sequences that cannot be read;
        the latter are named in a warning.
    """
    little = dataset.original_encoding[1] is not False
    signed = bool(dataset.get("PixelRepresentation", signed))
    copy = Dataset()
    for element in dataset.elements():
        if element.tag.is_private or element.tag.element == 0:  # retired Group Length, too
            continue
        kind = _representation(element, signed) if isinstance(element, RawDataElement) else element.VR
        if kind == "SQ":
            try:
                items = [explicit_little_endian(item, signed) for item in dataset[element.tag].value]
            except Exception:  # of a damaged sequence; its text may quote it
                logger.warning("Left out: the attribute %s, which cannot be read.", _name(element.tag))
                continue
            copy[element.tag] = DataElement(element.tag, "SQ", Sequence(items))
        elif isinstance(element, RawDataElement):
            value = _in_order(element.value or b"", kind, little)
            copy[element.tag] = element._replace(
                VR=kind, length=len(value), value=value, is_implicit_VR=False, is_little_endian=True
            )
        else:
            copy[element.tag] = element
    copy.set_original_encoding(False, True, dataset.original_character_set)
    return copy


def _representation(element: RawDataElement, signed: bool) -> str:
    """Give the value representation; where the file does not say it, that of the standard."""
    if element.VR is not None:
        return str(element.VR)
    try:
        known = dictionary_VR(element.tag)
    except KeyError:
        return "UN"
    if known == "US or SS":
        return "SS" if signed else "US"
    return "OW" if " or " in known else known  # overlays, tables


def _in_order(value: bytes, kind: str, little: bool) -> bytes:
    size = NUMBER_BYTES.get(kind, 1)
    if not little and size > 1 and len(value) % size == 0:
        value = np.frombuffer(value, f">u{size}").astype(f"<u{size}").tobytes()
    return value + (b"\0" if kind in FILLED_WITH_ZERO else b" ") * (len(value) % 2)


def _name(tag: BaseTag) -> str:
    return keyword_for_tag(tag) or str(tag)
