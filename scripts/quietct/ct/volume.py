"""The volume format between the stages: int16 HU in a .npy file, and facts in JSON beside it.

Volumes are read and written slice by slice. They are not memory-mapped: pages that were touched through a map count as
memory of the process, so that a job would seem to need as much as its files are large.
"""

from __future__ import annotations

import json
import operator
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from quietct.errors import UserError
from quietct.files import written_whole

# What a method could not compute; no measured or simulated HU has this value.
NO_VALUE = -32768
HU_MIN, HU_MAX = -32767, 32767


class Volume:
    """An array in a .npy file, of which no more is in memory than was asked for.

    Indexing works as for an ndarray as far as the first index goes; what comes after it is taken from the slices that
    this one chooses, which are read whole and anew each time. The file is open only while it is read. Where an ndarray
    is wanted, NumPy reads all of it.

    Parameters
    ----------
    path : path
        A file written by `new_volume`: a volume (slices, rows, columns), or patch pairs (n, 2, rows, columns).

    Attributes
    ----------
    path : path
    shape : tuple of int
    dtype : numpy dtype

    Raises
    ------
    ValueError or OSError
        If the file is absent, too short, or no .npy array.
    """

    def __init__(self, path: str | Path):
        header = np.lib.format.open_memmap(path, mode="r")
        if not header.flags.c_contiguous:
            raise ValueError("not in C order")
        self.path, self.shape, self.dtype, self._offset = path, header.shape, header.dtype, header.offset
        self.slice_bytes = int(np.prod(self.shape[1:])) * self.dtype.itemsize

    def __len__(self) -> int:
        """Count the slices."""
        return self.shape[0]

    @property
    def size(self) -> int:
        """Number of values."""
        return int(np.prod(self.shape))

    def place(self, index: int) -> int:
        """Byte in the file where slice `index`, 0 or more, begins; it has `slice_bytes`."""
        return self._offset + index * self.slice_bytes

    def read(self, index: int) -> np.ndarray:
        """Read slice `index`, 0 or more; the array is the caller's."""
        one = np.empty(self.shape[1:], self.dtype)
        self.read_into(one, index)
        return one

    def read_into(self, one: np.ndarray, index: int) -> None:
        """Read slice `index`, 0 or more, into an array of its shape and dtype."""
        with open(self.path, "rb", buffering=0) as file:
            file.seek(self.place(index))
            if file.readinto(one.data) < self.slice_bytes:
                raise self.cut_off()

    def cut_off(self) -> UserError:
        """Say that the file does not hold what its header said when it was opened."""
        return UserError(f"{self.path} has become shorter. Delete it and run again.")

    def __getitem__(self, index: Any) -> np.ndarray:
        """Read one slice or several."""
        first, rest = (index[0], index[1:]) if isinstance(index, tuple) else (index, ())
        if isinstance(first, int | np.integer):
            number = range(len(self))[operator.index(first)]
            return self.read(number)[rest].copy() if rest else self.read(number)
        chosen = np.arange(len(self))[first].tolist()
        return np.stack([self[(k, *rest)] for k in chosen]) if chosen else np.empty((0, *self.shape[1:]), self.dtype)

    def __iter__(self) -> Iterator[np.ndarray]:
        """Read slice after slice."""
        return map(self.read, range(len(self)))

    def blocks(self, block_bytes: int = 1 << 20) -> Iterator[bytes]:
        """Read all values as they lie in the file, some bytes at a time."""
        left = len(self) * self.slice_bytes
        with open(self.path, "rb", buffering=0) as file:
            file.seek(self._offset)
            while left:
                block = file.read(min(block_bytes, left))
                if not block:
                    raise self.cut_off()
                left -= len(block)
                yield block

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """Read all of it."""
        return np.asarray(self[:], dtype)

    def min(self) -> Any:
        """Lowest value."""
        return min(one.min() for one in self)

    def max(self) -> Any:
        """Highest value."""
        return max(one.max() for one in self)


class NewVolume:
    """Where the slices of a volume are put: `volume[k] = slice`, in any order; what is never put is 0."""

    def __init__(self, file: BinaryIO, shape: tuple[int, ...]):
        self.shape, self._file, self._offset = shape, file, file.tell()
        self._one = np.empty(shape[1:], np.int16)

    def __len__(self) -> int:
        """Count the slices."""
        return self.shape[0]

    def __setitem__(self, index: Any, values: Any) -> None:
        """Write one slice, or several, from an array of their shape or one value."""
        if isinstance(index, int | np.integer):
            self._one[...] = values
            self._file.seek(self._offset + range(len(self))[operator.index(index)] * self._one.nbytes)
            self._file.write(self._one.data)
            return
        chosen = np.arange(len(self))[index].tolist()
        for k, one in zip(chosen, np.broadcast_to(values, (len(chosen), *self.shape[1:])), strict=True):
            self[k] = one


def open_volume(path: str | Path) -> Volume:
    """Open a volume or a patch set to be read slice by slice.

    Parameters
    ----------
    path : path
        A .npy file written by `new_volume`.

    Returns
    -------
    Volume of int16
        HU; a volume has the axes (slices, rows, columns).

    Raises
    ------
    UserError
        If the file is absent or is no .npy array.
    """
    try:
        return Volume(path)
    except FileNotFoundError:
        raise UserError(f"{path} does not exist.") from None
    except (ValueError, OSError) as error:
        raise UserError(f"{path} is not a NumPy array file ({error}). Delete it and run again.") from None


def open_alike(*paths: str | Path) -> list[Volume]:
    """Open volumes that must have one shape.

    Parameters
    ----------
    *paths : path
        Volumes; the first sets the shape.

    Returns
    -------
    list of Volume of int16
        HU (slices, rows, columns).

    Raises
    ------
    UserError
        If one's shape differs from the first one's.
    """
    volumes = [open_volume(path) for path in paths]
    for path, volume in zip(paths, volumes, strict=True):
        if volume.shape != volumes[0].shape:
            raise UserError(
                f"{path} has the shape {volume.shape} and {paths[0]} has {volumes[0].shape}: they don't belong "
                "together. Delete the older of the two and run again."
            )
    return volumes


@contextmanager
def new_volume(path: str | Path, shape: tuple[int, ...]) -> Iterator[NewVolume]:
    """Give an int16 array on disk to be written slice by slice, which appears at `path` when the block ends well.

    Parameters
    ----------
    path : path
        The .npy file to make.
    shape : tuple of int
        Its shape, for a volume (slices, rows, columns).

    Yields
    ------
    NewVolume
        In HU.
    """
    shape = tuple(map(int, shape))
    with written_whole(path) as partial, open(partial, "xb") as file:
        _write_header(file, shape)
        end = file.tell() + int(np.prod(shape)) * np.dtype(np.int16).itemsize
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, end)  # a full disk is told now, not after hours
        file.truncate(end)
        yield NewVolume(file, shape)


def write_volume(path: str | Path, shape: tuple[int, int, int], slices: Iterable[np.ndarray]) -> None:
    """Write a volume that appears at `path` when all its slices are there.

    It is the file of `new_volume`, written from front to back.

    Parameters
    ----------
    path : path
        The .npy file to make.
    shape : tuple of int
        (slices, rows, columns).
    slices : iterable of ndarray of int16 (rows, columns)
        In HU. An array may be used again once the next one is asked for.
    """
    with written_whole(path) as partial, open(partial, "xb") as file:
        _write_header(file, shape)
        for one in slices:
            file.write(one.data)


def _write_header(file: BinaryIO, shape: tuple[int, ...]) -> None:
    header = {"descr": np.lib.format.dtype_to_descr(np.dtype(np.int16)), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)


def preview_index(
    volume: Volume | np.ndarray, wanted: int | None, path: str | Path, allowed: np.ndarray | None = None
) -> int:
    """Find the slice that pictures show.

    Parameters
    ----------
    volume : Volume or ndarray (slices, rows, columns)
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
