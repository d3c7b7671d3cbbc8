"""The volume format between the stages: int16 HU in a memory-mappable .npy, and facts in JSON beside it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from quietct.errors import UserError
from quietct.files import written_whole

# What a method could not compute; no measured or simulated HU has this value.
NO_VALUE = -32768
HU_MIN, HU_MAX = -32767, 32767


def open_volume(path: str | Path) -> np.ndarray:
    """Open a volume or a patch set read-only without loading it.

    Parameters
    ----------
    path : path
        A .npy file written by `new_volume`.

    Returns
    -------
    ndarray of int16
        HU, memory-mapped; a volume has the axes (slices, rows, columns).

    Raises
    ------
    UserError
        If the file is absent or is no .npy array.
    """
    try:
        return np.lib.format.open_memmap(path, mode="r")
    except FileNotFoundError:
        raise UserError(f"{path} does not exist.") from None
    except (ValueError, OSError) as error:
        raise UserError(f"{path} is not a NumPy array file ({error}). Delete it and run again.") from None


@contextmanager
def new_volume(path: str | Path, shape: tuple[int, ...]) -> Iterator[np.ndarray]:
    """Give a writable int16 array on disk that appears at `path` when the block ends well.

    Slices are written one by one, so that memory does not grow with the series.

    Parameters
    ----------
    path : path
        The .npy file to make.
    shape : tuple of int
        Its shape, for a volume (slices, rows, columns).

    Yields
    ------
    ndarray of int16
        Memory-mapped and writable, in HU.
    """
    with written_whole(path) as partial:
        volume = np.lib.format.open_memmap(partial, mode="w+", dtype=np.int16, shape=shape)
        if hasattr(os, "posix_fallocate"):
            # Writing through a memory map to a full disk kills the process; asking for the space first is an error.
            with open(partial, "r+b") as file:
                os.posix_fallocate(file.fileno(), 0, os.path.getsize(partial))
        yield volume
        volume.flush()


def write_volume(path: str | Path, shape: tuple[int, int, int], slices: Iterable[np.ndarray]) -> None:
    """Write a volume that appears at `path` when all its slices are there.

    It is the file of `new_volume`, written from front to back, which is faster than through a memory map.

    Parameters
    ----------
    path : path
        The .npy file to make.
    shape : tuple of int
        (slices, rows, columns).
    slices : iterable of ndarray of int16 (rows, columns)
        In HU. An array may be used again once the next one is asked for.
    """
    header = {"descr": np.lib.format.dtype_to_descr(np.dtype(np.int16)), "fortran_order": False, "shape": shape}
    with written_whole(path) as partial, open(partial, "xb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for one in slices:
            file.write(one.data)


def preview_index(volume: np.ndarray, wanted: int | None, path: str | Path, allowed: np.ndarray | None = None) -> int:
    """Find the slice that pictures show.

    Parameters
    ----------
    volume : ndarray (slices, rows, columns)
    wanted : int or None
        The config's `preview.slice`; None for the middle slice, or of those allowed the one nearest to the middle.
    path : path
        Of the volume, for the message.
    allowed : ndarray of bool (slices,), optional
        The slices that are held out of the training, at least one. Others are not shown, because a network may have
        learnt them by heart.

    Returns
    -------
    int
        Counted from 0.

    Raises
    ------
    UserError
        If the volume has no such slice, or it is not held out.
    """
    held_out = np.arange(len(volume)) if allowed is None else np.flatnonzero(allowed)
    middle = len(volume) // 2
    index = min(held_out.tolist(), key=lambda k: abs(k - middle)) if wanted is None else wanted
    if not 0 <= index < len(volume):
        raise UserError(f"The key preview.slice is {index}, but {path} has the slices 0 to {len(volume) - 1}.")
    if index not in held_out:
        nearest = [*held_out[held_out < index][-1:].tolist(), *held_out[held_out > index][:1].tolist()]
        raise UserError(
            f"The key preview.slice is {index}, but the key split does not hold this slice of {path} out of the "
            f"training; the nearest that it holds out: {' and '.join(map(str, nearest))}."
        )
    return index


def to_int16(hu: np.ndarray) -> np.ndarray:
    """Round HU to the nearest integer and clip to -32767..32767; what is no finite number becomes `NO_VALUE`."""
    rounded = np.rint(hu)
    failed = ~np.isfinite(rounded)
    np.clip(rounded, HU_MIN, HU_MAX, out=rounded)
    rounded[failed] = NO_VALUE
    return rounded.astype(np.int16)


def is_failed(hu: np.ndarray) -> bool:
    """Whether an image has a pixel that a method could not compute: `NO_VALUE`, NaN or infinite."""
    return bool((hu == NO_VALUE).any() or not np.isfinite(hu).all())


def without_failures(hu: np.ndarray) -> np.ndarray:
    """Give an image as float32 for a picture: a pixel of `NO_VALUE` is NaN, which stays blank."""
    return np.where(hu == NO_VALUE, np.float32(np.nan), hu.astype(np.float32))


def write_info(path: str | Path, info: dict[str, Any]) -> None:
    """Write the JSON that belongs to a volume."""
    with written_whole(path) as partial:
        partial.write_text(json.dumps(info, indent=1) + "\n")


def read_info(path: str | Path) -> dict[str, Any]:
    """Read the JSON that belongs to a volume."""
    return json.loads(Path(path).read_text())
