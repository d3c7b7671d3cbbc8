"""Read what a DICOM file says about itself, without its pixels."""

from __future__ import annotations

import math
import unicodedata
import zlib
from pathlib import Path
from typing import IO, Any
from zipfile import BadZipFile

import numpy as np
from pydicom import Dataset, dcmread
from pydicom.errors import InvalidDicomError
from pydicom.uid import MediaStorageDirectoryStorage

from quietct.errors import UserError


def read_header(source: str | Path | IO[bytes], name: str) -> Dataset | None:
    """Read a file's attributes without its pixels.

    Parameters
    ----------
    source : path or binary file
        What to read.
    name : str
        What to call it in messages; kept as the attribute `filename` of the result.

    Returns
    -------
    Dataset or None
        None if it isn't a DICOM file.

    Raises
    ------
    UserError
        If it is a DICOM file but cannot be read.
    """
    try:
        header = dcmread(source, stop_before_pixels=True)
        kind = sop_class(header)
        whole = kind and (kind == MediaStorageDirectoryStorage or header.get("SeriesInstanceUID"))
        header.get("ImageType")  # values are only decoded when asked for
    except InvalidDicomError:
        return None
    except (OSError, BadZipFile, zlib.error):
        raise  # the medium is at fault, not the file
    except Exception as error:  # pydicom raises almost anything on damaged files
        raise UserError(f"{name} is a damaged DICOM file ({error}). Replace or remove it.") from error
    if not whole:
        raise UserError(f"{name} is a damaged DICOM file (cut off in its header). Replace or remove it.")
    header.filename = name
    return header


def sop_class(header: Dataset) -> str:
    """Tell what kind of object a file holds; where the header is cut off, its preamble still says."""
    return str(header.get("SOPClassUID") or header.file_meta.get("MediaStorageSOPClassUID", ""))


def clean_text(value: Any) -> str | None:
    r"""Text of an attribute without control characters; several values joined by a backslash; None if empty."""
    if value is None:
        return None
    text = value if isinstance(value, str) else "\\".join(str(part) for part in value)
    return "".join(c for c in text if unicodedata.category(c)[0] != "C").strip() or None


def number(header: Dataset, keyword: str) -> float | None:
    """Give an attribute's value as a number; None if it is absent, empty or not finite."""
    value = header.get(keyword)
    if value is None or value == "":
        return None
    number = float(value)
    return number if math.isfinite(number) else None


def numbers(header: Dataset, keyword: str, count: int) -> np.ndarray:
    """Give an attribute's `count` values; a `UserError` if there are more or fewer."""
    value = header.get(keyword)
    if value is None or isinstance(value, str) or len(value) != count:
        raise UserError(f"{header.filename} has no valid {keyword}, so the place of the slice is not known.")
    return np.array([float(v) for v in value])
