"""Source `directory`: somebody's own folder or .zip with DICOM files. It is only read."""

from __future__ import annotations

import logging
import shutil
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO, Any

from quietct.ct.dicom.header import read_header
from quietct.ct.dicom.series import choose_series
from quietct.errors import UserError

logger = logging.getLogger(__name__)

Opener = Callable[[], IO[bytes]]


def fetch(dest: Path, location: str | None, series_instance_uid: str | None = None, **_: Any) -> None:
    """Copy the one CT series that a folder or .zip holds.

    Files that are not DICOM, localisers and other kinds of objects are passed over.

    Parameters
    ----------
    dest : Path
        An empty folder; gets 0001.dcm, 0002.dcm, ... in the order of the slices' position.
    location : str
        A folder, looked through with all folders below it, or a .zip file.
    series_instance_uid : str, optional
        Which series, if there are several.

    Raises
    ------
    UserError
        If the location is absent or a broken .zip, holds no CT images, or holds several series and none is named.
    """
    if not location:
        raise UserError("The column `location` is empty; source `directory` needs a folder or a .zip file there.")
    with _opened(Path(location).expanduser()) as files:
        headers = []
        for name, opener in files.items():
            with opener() as file:
                header = read_header(file, name)
            if header is not None:
                headers.append(header)
        series = choose_series(headers, location, series_instance_uid)
        width = max(4, len(str(len(series))))
        for k, header in enumerate(series, start=1):
            with files[header.filename]() as file, open(dest / f"{k:0{width}}.dcm", "xb") as copy:
                shutil.copyfileobj(file, copy, 1 << 20)
    logger.info("%s: %d slices of series %s", location, len(series), series[0].SeriesInstanceUID)


@contextmanager
def _opened(location: Path) -> Iterator[dict[str, Opener]]:
    """Give the files of a folder or archive: the name of each, and how to open it for reading."""
    if location.is_dir():
        paths = sorted(path for path in location.rglob("*") if path.is_file() and path.name.upper() != "DICOMDIR")
        yield {str(path): _opener(path) for path in paths}
    elif location.is_file():
        try:
            with zipfile.ZipFile(location) as archive:
                # Members are read as streams and never extracted, so their names cannot lead out of the folder.
                # Sizes are not trusted either; two members of one name count as two files.
                members = [member for member in archive.infolist() if not member.is_dir()]
                yield {
                    f"{location}:{member.filename}" + f" ({k})" * (k > 0): partial(archive.open, member)
                    for k, member in _numbered(members)
                    if not member.filename.upper().endswith("DICOMDIR")
                }
        except (zipfile.BadZipFile, zlib.error, EOFError) as error:
            raise UserError(f"{location} is not a readable .zip file ({error}). Copy or export it again.") from error
        except (NotImplementedError, RuntimeError) as error:  # unknown compression, or a password
            raise UserError(f"{location} cannot be unpacked ({error}). Unpack it and name the folder.") from error
    else:
        raise UserError(f"The location {location} does not exist; give a folder or a .zip file with DICOM files.")


def _opener(path: Path) -> Opener:
    return lambda: path.open("rb")


def _numbered(members: list[zipfile.ZipInfo]) -> Iterator[tuple[int, zipfile.ZipInfo]]:
    """Count the members that share a name: 0 for the first, 1 for the second."""
    seen: dict[str, int] = {}
    for member in members:
        seen[member.filename] = seen.get(member.filename, -1) + 1
        yield seen[member.filename], member
