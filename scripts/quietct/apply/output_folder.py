"""The folder that the command writes: where it may lie, when it is finished, and what is never replaced."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pydicom

from quietct.errors import UserError
from quietct.files import system_error

DENOISED = "Denoised by quietct"  # so the derivation of everything begins that quietct has written


def is_finished(output: Path, derivation: str, slices: int) -> bool:
    """Whether the folder holds as many slices as this derivation gives, and nothing else."""
    there = list(output.rglob("*")) if output.is_dir() else []
    return len(there) == slices > 0 and all(derivation in _origin(path) for path in there)


def _origin(path: Path) -> str:
    """Read how a file says it was derived; nothing if it is no DICOM file."""
    try:
        header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=["DerivationDescription"])
        return str(header.get("DerivationDescription") or "")
    except Exception:  # pydicom raises almost anything on other files
        return ""


def check_places(source: Path, output: Path, picture: Path | None) -> None:
    """Refuse an output or a picture among the input's files, and a picture among the output's."""
    inside, target = source.resolve(), output.resolve()
    if target == inside or inside in target.parents:
        raise UserError(f"The output {output} lies in the input {source}, which is only read. Choose another folder.")
    if target in inside.parents:
        raise UserError(f"The input {source} lies in the output folder {output}. Choose another folder for the output.")
    if output.exists() and not output.is_dir():
        raise UserError(f"The output {output} is a file; choose a folder.")
    if picture is None:
        return
    if picture.suffix.lower() not in (".png", ".gif"):
        raise UserError(f"The preview {picture} must end in .png (one slice) or .gif (a scroll through the series).")
    if picture.is_dir():
        raise UserError(f"The preview {picture} is a folder; choose a file.")
    for place in (inside, target):
        if place == picture.resolve() or place in picture.resolve().parents:
            raise UserError(f"The preview {picture} lies in {place}, where nothing but DICOM files belongs.")


def check_free(output: Path, picture: Path | None, force: bool) -> None:
    """Refuse to replace anything without `force`, and with it anything that quietct did not write."""
    there = sorted(path for path in output.rglob("*") if not path.is_dir()) if output.is_dir() else []
    if there and not force:
        raise UserError(
            f"{output} is not empty, and not what this input and these weights give. Choose another folder, or add "
            "--force to replace it."
        )
    for path in there:
        if not _origin(path).startswith(DENOISED):
            raise UserError(
                f"{output} holds files that quietct did not write, for example {path.name}. --force replaces results "
                "of quietct only: choose another folder, or remove the files yourself."
            )
    if picture is not None and picture.exists() and not force:
        raise UserError(f"The preview {picture} exists. Choose another name, or add --force to replace it.")


@contextmanager
def failures_named(output: Path) -> Iterator[None]:
    """Turn what the system refuses into a sentence that names the file."""
    try:
        yield
    except OSError as error:
        cause = system_error(error)
        number, reason = getattr(cause, "errno", None), getattr(cause, "strerror", None)
        place = str(getattr(cause, "filename", None) or output)
        if ".part-" in place:
            place = str(output)
        if number in (errno.ENOSPC, errno.EDQUOT):
            raise UserError(f"The disk is full: {place} could not be written. Free some space.") from error
        if number == errno.EBUSY:
            raise UserError(f"{place} is a mount point; name a folder inside it.") from error
        raise UserError(f"{place} cannot be used ({reason or 'unreadable'}). Choose another place.") from error
