"""Read which files a DICOMDIR lists (PS3.3 Annex F), and find them beside it."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from pydicom.uid import MediaStorageDirectoryStorage

from quietct.ct.dicom.header import quiet_pydicom, read_header
from quietct.ct.dicom.series import Entry, entry
from quietct.errors import UserError

TAGS = [0x00041220, 0x00080016]  # Directory Record Sequence, SOP Class UID


def listed_files(file: Entry) -> list[Entry] | None:
    """Give the files that a DICOMDIR lists.

    Parameters
    ----------
    file : Entry
        What may be a DICOMDIR.

    Returns
    -------
    list of Entry or None
        None if it is no DICOMDIR.

    Raises
    ------
    UserError
        If it is damaged, or a file that it lists is not there.
    """
    with quiet_pydicom(), file.open() as stream:
        header = read_header(stream, file.size, file.name, TAGS)
        if header is None or header.sop_class != MediaStorageDirectoryStorage:
            return None
        try:
            records = header.dataset.get("DirectoryRecordSequence") or []
            parts = [record.get("ReferencedFileID") for record in records]
        except Exception:  # pydicom raises almost anything on damaged files
            raise UserError(f"{file.name} is a damaged DICOMDIR. Name the folder instead.") from None
    folder = Path(file.name).parent
    # Discs are written in capitals, and read in either case and with or without a version number.
    there = {_key(path.relative_to(folder).as_posix()): path for path in sorted(folder.rglob("*")) if path.is_file()}
    listed = [_key("/".join([part] if isinstance(part, str) else part)) for part in parts if part]
    missing = [key for key in listed if key not in there]
    if missing:
        raise UserError(
            f"{file.name} lists {len(missing)} files that are not beside it, such as {missing[0]}. "
            "Copy the whole disc, or name the folder instead."
        )
    return [entry(there[key]) for key in dict.fromkeys(listed)]


def _key(name: str) -> str:
    return str(PurePosixPath(name)).casefold().partition(";")[0].rstrip(".")
