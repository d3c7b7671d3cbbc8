"""A series at less dose: the noise model `low_dose` on all slices of a volume."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from quietct.ct.clipping import clipped_at_hu, fill_clipped_air
from quietct.ct.dose_settings import dose_of, scanner_of
from quietct.ct.low_dose import Scanner, extra_noise
from quietct.ct.projection import is_circular, project, touches_border
from quietct.ct.slice_profile import Cells, independent_cells, noise_cells, shared_normals
from quietct.ct.volume import Volume, read_info
from quietct.errors import UserError

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class LowDose:
    """What makes a slice of one series noisy; it can be pickled.

    Attributes
    ----------
    scanner : Scanner
        With the photons of the series at its full dose.
    dose : float
        Fraction of it.
    pixel_mm : float
    circle : bool
        Whether all slices are empty outside their inscribed circles.
    clip_hu : (float, float) or None
        Ends of the scale of a series that is clipped like a picture, HU.
    cells : list of lists of (int, float)
        Which noise the slices share.
    stream : tuple of int
        Where the random streams of the series begin.
    """

    scanner: Scanner
    dose: float
    pixel_mm: float
    circle: bool
    clip_hu: tuple[float, float] | None
    cells: Cells
    stream: tuple[int, ...]

    def __call__(self, k: int, hu: np.ndarray) -> np.ndarray:
        """Add the noise of slice `k`, HU (rows, columns); at full dose the slice comes back as it is.

        A series that is clipped above air, like a picture, gets the noise that its scan would have had, and is clipped
        again.
        """
        if self.dose == 1:
            return hu
        filled = fill_clipped_air(hu, self.clip_hu and self.clip_hu[0])
        sinogram = project(filled, self.pixel_mm, self.scanner.views, circle=self.circle)
        normals = shared_normals(self.cells[k], sinogram.values.shape, [*self.stream, 0])
        rng = np.random.default_rng([*self.stream, 1, k])  # of rays that starve
        noisy = filled + extra_noise(sinogram, self.scanner, self.dose, rng, normals)
        return np.clip(noisy, *self.clip_hu) if self.clip_hu else noisy


def reduced_dose(
    volume: Volume,
    settings: dict[str, Any],
    stream: tuple[int, ...],
    info_path: str | Path,
    calibration_path: str | Path | None = None,
) -> LowDose:
    """Set up the noise that takes a series to a fraction of its dose.

    Parameters
    ----------
    volume : Volume of int16 (slices, rows, columns)
        The series, HU.
    settings : dict
        See `dose_settings`.
    stream : tuple of int
        Where its random streams begin.
    info_path : path
        JSON of the series: pixel spacing, and where the settings or overlapping slices ask for them exposure, slice
        thickness and positions.
    calibration_path : path, optional
        JSON of the calibration that the settings name.

    Returns
    -------
    LowDose

    Raises
    ------
    UserError
        If a setting makes no sense, or a fact of the series is missing that it needs.
    """
    info = read_info(info_path)
    pixel_mm = _pixel_mm(info, info_path)
    scanner, dose = scanner_of(settings, info, calibration_path), dose_of(settings, info)
    logger.info("%.4g of the dose; at full dose %.4g photons a detector element and view.", dose, scanner.photons)
    low = clipped_at_hu(volume)
    clip_hu = None if low is None else (low, float(volume.max()))
    # One geometry for all slices, so that neighbours can share noise.
    circle = all(is_circular(hu) for hu in volume)
    if cut := [k for k, hu in enumerate(volume) if touches_border(fill_clipped_air(hu, low), circle)]:
        logger.warning(
            "The body reaches the border of the image in %d of %d slices, first in slice %d. What lies outside takes "
            "no light away in the simulation, so that there is too little noise.",
            *(len(cut), len(volume), cut[0]),
        )
    return LowDose(scanner, dose, pixel_mm, circle, clip_hu, _cells(info, len(volume)), stream)


def _pixel_mm(info: dict[str, Any], path: str | Path) -> float:
    """Side of the square pixels."""
    spacing = info.get("spacing_mm")
    try:
        row, column = (float(value) for value in spacing)  # type: ignore[union-attr]
    except (TypeError, ValueError):
        row = column = np.nan
    if not (0 < row < np.inf and 0 < column < np.inf):
        raise UserError(f"{path} gives no pixel spacing, only {spacing!r}; the noise model low_dose needs it in mm.")
    if abs(row - column) > 1e-3 * column:
        raise UserError(
            f"{path}: rows are {row:g} mm apart, columns {column:g} mm; the noise model low_dose needs square pixels."
        )
    return column


def _cells(info: dict[str, Any], slices: int) -> Cells:
    """Which noise the slices share; nothing where it is not known how thick they are, or where."""
    thickness, z_mm = info.get("slice_thickness_mm"), info.get("z_mm")
    if not thickness or not z_mm or len(z_mm) != slices:
        logger.warning("Slice thickness or positions are not known; the noise of neighbouring slices is independent.")
        return independent_cells(slices)
    steps = np.abs(np.diff(np.sort(z_mm)))
    if len(steps) and steps.min() < thickness:
        logger.info("Slices of %g mm lie %g mm apart; neighbours share noise.", thickness, np.median(steps))
    return noise_cells(z_mm, thickness)
