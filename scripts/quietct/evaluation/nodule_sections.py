"""Sections of nodules by slices: circles of known centre and radius, and which pixels around are fit to be measured.

All of it is decided on the truth and the target, so that it is the same for every method.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.ndimage import gaussian_filter

from quietct.ct.clipping import NEAR_HU, GreyScale
from quietct.ct.volume import Volume

OUTSIDE_MM = 4.0  # how far around a nodule its surroundings are looked at
EDGE_MM = 1.5  # the blur of the edge reaches this far to both sides
SECTORS = 36
SMOOTHING_PX = 1.0
# Surroundings that differ from their median by more than this share of the nodule's contrast are vessels or the wall.
LARGEST_DEVIATION = 0.15
SMALLEST_TOLERANCE_HU = 30.0  # but the lung's own texture is none
MIN_CLEAR = 0.25  # share of the surroundings that must be left
# Less in the target is nothing to recover: of a nodule that is elsewhere, or darker than a picture shows.
SMALLEST_CONTRAST_HU = 5.0


@dataclass(frozen=True)
class Section:
    """A nodule in one slice.

    Attributes
    ----------
    nodule : int
        Row of the table of nodules.
    index : int
        Slice in the volume.
    rows, columns : slice
        The pixels around it.
    radius_mm : float
        Of the sphere at the height of the slice's middle.
    edge_mm : ndarray of float64
        Distance of each pixel to the circle, negative inside.
    clear : ndarray of bool
        Directions from the centre in which nothing but lung surrounds the nodule.
    background_hu, contrast_hu : float
        Of the target: mean of the clear surroundings, and mean of the core minus that.
    """

    nodule: int
    index: int
    rows: slice
    columns: slice
    radius_mm: float
    edge_mm: np.ndarray
    clear: np.ndarray
    background_hu: float
    contrast_hu: float

    def cut(self, volume: Volume | np.ndarray) -> np.ndarray:
        """Take the pixels around the section out of a volume (slices, rows, columns), float64 HU."""
        return volume[self.index, self.rows, self.columns].astype(float)

    def lies_within(self, scale: GreyScale) -> bool:
        """Tell whether a scan's grey scale shows both sides of the edge: a clipped edge is too steep for any blur."""
        ends = self.background_hu, self.background_hu + self.contrast_hu
        return (scale.low_hu is None or min(ends) > scale.low_hu + NEAR_HU) and (
            scale.high_hu is None or max(ends) < scale.high_hu - NEAR_HU
        )

    @property
    def background(self) -> np.ndarray:
        """Pixels of the clear surroundings, beyond the blur of the edge."""
        return self.clear & (self.edge_mm > EDGE_MM) & (self.edge_mm <= OUTSIDE_MM)

    @property
    def core(self) -> np.ndarray:
        """Pixels within the blur of the edge; of small nodules those in half the radius."""
        return core_of(self.edge_mm, self.radius_mm)


def core_of(edge_mm: np.ndarray, radius_mm: float) -> np.ndarray:
    """Tell which pixels are the core of a section of this radius."""
    return edge_mm <= -min(EDGE_MM, radius_mm / 2)


def nodule_section(
    target: Volume | np.ndarray, index: int, nodule: int, row: float, column: float, radius_mm: float, pixel_mm: float
) -> Section | None:
    """Cut a nodule out of a slice.

    Parameters
    ----------
    target : Volume or ndarray (slices, rows, columns)
        HU.
    index : int
        Slice.
    nodule : int
        Its number, which the section keeps.
    row, column : float
        Centre, pixels.
    radius_mm : float
        Of the circle that the slice cuts.
    pixel_mm : float

    Returns
    -------
    Section or None
        None where the image ends too soon, too little of the surroundings is clear, or there is next to no contrast.
    """
    reach = (radius_mm + OUTSIDE_MM) / pixel_mm + 1
    (top, bottom), (left, right) = ((int(np.floor(at - reach)), int(np.ceil(at + reach)) + 1) for at in (row, column))
    if min(top, left) < 0 or bottom > target.shape[1] or right > target.shape[2]:
        return None
    y, x = np.mgrid[top:bottom, left:right]
    edge_mm = np.hypot(y - row, x - column) * pixel_mm - radius_mm
    around = (edge_mm > EDGE_MM) & (edge_mm <= OUTSIDE_MM)
    patch = target[index, top:bottom, left:right].astype(float)
    core = core_of(edge_mm, radius_mm)
    if not core.any():
        return None
    smooth = gaussian_filter(patch, SMOOTHING_PX)
    median = float(np.median(smooth[around]))
    tolerance = max(LARGEST_DEVIATION * abs(patch[core].mean() - median), SMALLEST_TOLERANCE_HU)
    sector = ((np.arctan2(y - row, x - column) / (2 * np.pi) + 0.5) * SECTORS).astype(int) % SECTORS
    blocked = np.unique(sector[around & (np.abs(smooth - median) > tolerance)])
    clear = ~np.isin(sector, blocked)
    if (clear & around).sum() < MIN_CLEAR * around.sum():
        return None
    background = float(patch[clear & around].mean())
    contrast = float(patch[core].mean()) - background
    if abs(contrast) < SMALLEST_CONTRAST_HU:
        return None
    return Section(
        nodule, index, slice(top, bottom), slice(left, right), radius_mm, edge_mm, clear, background, contrast
    )


def sections(
    table: pd.DataFrame,
    target: Volume | np.ndarray,
    z_mm: Sequence[float],
    slices: Sequence[int],
    pixel_mm: float,
    within: float,
) -> Iterator[Section]:
    """Go through the sections of all nodules near their middles.

    Parameters
    ----------
    table : DataFrame
        Nodules, as from `quietct.ct.nodule_truth.read_nodules`.
    target : Volume or ndarray (slices, rows, columns)
        HU.
    z_mm : sequence of float
        Heights of the volume's slices.
    slices : sequence of int
        Those that may be used.
    pixel_mm : float
    within : float
        Largest distance of a slice to the middle of a nodule, in radii.

    Yields
    ------
    Section
    """
    for number, nodule in enumerate(table.itertuples()):
        radius = nodule.diameter_mm / 2
        for index in slices:
            off = abs(z_mm[index] - nodule.z_mm)
            if off <= within * radius:
                at_height = float(np.sqrt(radius**2 - off**2))
                found = nodule_section(target, index, number, nodule.row, nodule.column, at_height, pixel_mm)
                if found is not None:
                    yield found
