"""Which slices of a series are for training and which are held out for testing, decided by their height.

Repeats of one scan show the same tissue at the same height, but their slice numbers may differ by a few. Heights are
therefore counted in slice spacings from one origin for all series, and of `every` such numbers `width` are held out.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from quietct.ct.volume import read_info
from quietct.errors import UserError

logger = logging.getLogger(__name__)

TRAINING, MARGIN, HELD_OUT = 0, 1, 2
# In slice spacings. Heights of repeats differ by rounding; nearer to the end of a band they might fall to either side.
NEAR = 0.05

Split = Mapping[str, Any]


@dataclass(frozen=True)
class Bands:
    """Bands of heights, all over the axis of the patient: held out, margin, training, margin, held out and so on.

    Parameters
    ----------
    every, width, margin : int
        Slices from one band that is held out to the next, in it, and on each side of it that are used for nothing.
    step_mm : float
        Spacing of the slices.
    offset_mm : float
        Height of the first slice of a held-out band.
    """

    every: int
    width: int
    margin: int
    step_mm: float
    offset_mm: float

    def kinds(self, z_mm: np.ndarray) -> np.ndarray:
        """Give TRAINING, MARGIN or HELD_OUT for every height, int (slices,)."""
        number = np.rint((z_mm - self.offset_mm) / self.step_mm).astype(int) % self.every
        margin = (number < self.width + self.margin) | (number >= self.every - self.margin)
        return np.where(number < self.width, HELD_OUT, np.where(margin, MARGIN, TRAINING))

    def are_clear(self, z_mm: np.ndarray, partner_mm: np.ndarray) -> bool:
        """Whether slices and their partners get the same kinds, and no slice would get another one by a hair."""
        kinds, near = self.kinds(z_mm), NEAR * self.step_mm
        return all(np.array_equal(self.kinds(z), kinds) for z in (z_mm - near, z_mm + near, partner_mm))


def training_slices(info: Mapping[str, Any], split: Split | None) -> np.ndarray:
    """Find the slices that may be trained on.

    Parameters
    ----------
    info : mapping
        JSON of the series: `z_mm`, heights of the slices; where the series has a target, `target: z_mm`, those of the
        slices that it is matched with.
    split : mapping or None
        The config's `split`: of `every` slices, `width` (1) neighbouring ones are held out, and the `margin` (0) slices
        on both sides of them are in neither set. `offset_mm` is the height of the first slice of a held-out band. Left
        out, it is a quarter of the spacing, because many series have heights that are multiples of half of it.
        None: nothing is held out.

    Returns
    -------
    ndarray of bool (slices,)

    Raises
    ------
    UserError
        If the split leaves nothing to train on, the series has one slice, or a slice or its partner in the target lies
        where the decision could turn out one way or the other.
    """
    return _kinds(info, split) == TRAINING if split else np.ones(len(info["z_mm"]), bool)


def test_slices(info: Mapping[str, Any], split: Split | None) -> np.ndarray:
    """Find the slices that are held out; all where there is no split. See `training_slices`."""
    return _kinds(info, split) == HELD_OUT if split else np.ones(len(info["z_mm"]), bool)


def read_slices(
    choose: Callable[[Mapping[str, Any], Split | None], np.ndarray],
    info_path: str | Path | None,
    split: Split | None,
    n_slices: int,
) -> np.ndarray:
    """Find the slices of a volume that may be used for something.

    Parameters
    ----------
    choose : callable
        `training_slices` or `test_slices`.
    info_path : path or None
        JSON of the series; not needed without a split.
    split : mapping or None
        See `training_slices`.
    n_slices : int
        Of the volume.

    Returns
    -------
    ndarray of bool (n_slices,)
        At least one is True.

    Raises
    ------
    UserError
        If the file lists another number of slices, there is no slice left, or `choose` refuses.
    """
    if split is None:
        return np.ones(n_slices, bool)
    if info_path is None:
        raise ValueError("A split needs the heights of the slices.")
    try:
        chosen = choose(read_info(info_path), split)
    except UserError as error:
        raise UserError(f"{info_path}: {error}") from None
    if len(chosen) != n_slices:
        raise UserError(
            f"{info_path} lists {len(chosen)} slice positions and its volume has {n_slices} slices. "
            "Delete both and run again."
        )
    if not chosen.any():
        kind = "training" if choose is training_slices else "testing"
        raise UserError(
            f"The key split leaves none of the {n_slices} slices of {info_path} for {kind}; "
            "choose a smaller split.every or split.margin, or another split.offset_mm."
        )
    return chosen


def warn_of_overlap(info: Mapping[str, Any], split: Split, series: str) -> None:
    """Warn if slices are so thick that those of the training show tissue of held-out ones."""
    step, thickness = slice_step_mm(np.asarray(info["z_mm"])), info.get("slice_thickness_mm") or 0.0
    # Neighbours across a margin are margin + 1 spacings apart.
    needed = int(np.ceil(thickness / step - 1 - NEAR))
    if needed > split.get("margin", 0):
        logger.warning(
            "%s: slices of %g mm every %g mm overlap, so that training slices show tissue of held-out ones; "
            "set split.margin to %d.",
            series, thickness, step, needed,
        )  # fmt: skip


def slice_step_mm(z_mm: np.ndarray) -> float:
    """Spacing of slices: the mean of all spacings, where a gap counts as the slices that it would hold.

    Parameters
    ----------
    z_mm : ndarray (slices,)
        At least two different heights, in order.

    Returns
    -------
    float
        mm. More exact than one difference of rounded heights, so that repeats agree far from the origin too.
    """
    gaps = np.abs(np.diff(z_mm))
    return float(gaps.sum() / np.rint(gaps / np.quantile(gaps, 0.5, method="lower")).sum())


def _kinds(info: Mapping[str, Any], split: Split) -> np.ndarray:
    every, width, margin = int(split["every"]), int(split.get("width", 1)), int(split.get("margin", 0))
    if width + 2 * margin >= every:
        raise UserError(
            f"The key split leaves nothing to train on: of every {every} slices, {width} are held out and {2 * margin} "
            "lie beside them. Choose a larger split.every or a smaller split.margin."
        )
    z_mm = np.asarray(info["z_mm"], dtype=np.float64)
    if len(z_mm) < 2:
        raise UserError("The key split cannot place a series of one slice; remove the key or the series.")
    partner_mm = np.asarray((info.get("target") or info)["z_mm"], dtype=np.float64)
    step = slice_step_mm(z_mm)
    bands = Bands(every, width, margin, step, float(split.get("offset_mm", step / 4)))
    if bands.are_clear(z_mm, partner_mm):
        return bands.kinds(z_mm)
    middle = len(z_mm) // 2
    better = round((z_mm[middle] + partner_mm[middle]) / 2, 3)
    if Bands(every, width, margin, step, better).are_clear(z_mm, partner_mm):
        advice = f"set split.offset_mm to {better:g}"
    else:
        advice = "the slices are not spaced evenly enough; remove the key split or the series"
    raise UserError(
        "The key split cannot tell whether some slices are held out, because they or their partners in the target lie "
        f"too near to the end of a band: {advice}."
    )
