"""A detection task: the synthetic chest with small equal nodules at random places, and the same slices without them.

A denoiser is asked what a reader asks: whether a faint nodule can still be told from its absence. The answer is
`quietct.evaluation.observer`'s.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
from scipy.ndimage import maximum_filter, minimum_filter

from quietct.ct.phantom import PIXEL_MM, ROWS, Nodule, insert_nodules, phantom, scan_truth
from quietct.ct.sources.phantom import STORED_HU
from quietct.ct.volume import new_volume, read_info, to_int16, write_info
from quietct.errors import UserError

logger = logging.getLogger(__name__)

REGION_OF_DIAMETER = 3.0  # side of the region that the observer sees; its channels end there
# No wide vessel may touch the nodule, and no wall or airway its region.
BESIDE_MM, BESIDE_HU = 1.5, -750.0
REGION_HU = (-950.0, -500.0)


def region_side(diameter_mm: float, pixel_mm: float) -> int:
    """Side in pixels, odd, of the region around a nodule that the observer sees."""
    return 2 * int(np.ceil(REGION_OF_DIAMETER / 2 * diameter_mm / pixel_mm)) + 1


def detection_sites(truth: np.ndarray, diameter_mm: float, count: int, rng: np.random.Generator) -> np.ndarray:
    """Choose places in the lung where a nodule could be, at random, so that their regions do not overlap.

    Parameters
    ----------
    truth : ndarray of float32 (512, 512)
        Noise-free slice of the chest without nodules, HU.
    diameter_mm : float
        Of the nodules.
    count : int
        How many are wanted.
    rng : Generator

    Returns
    -------
    ndarray of int (at most count, 2)
        Row and column of the pixel in the middle.
    """
    side = region_side(diameter_mm, PIXEL_MM)
    beside = maximum_filter(truth, footprint=_disc(diameter_mm / 2 + BESIDE_MM))
    around = _disc(side / 2 * np.sqrt(2) * PIXEL_MM)
    lowest, highest = minimum_filter(truth, footprint=around), maximum_filter(truth, footprint=around)
    free = (beside < BESIDE_HU) & (lowest > REGION_HU[0]) & (highest < REGION_HU[1])
    chosen: list[tuple[int, int]] = []
    while len(chosen) < count and free.any():
        row, column = rng.choice(np.argwhere(free)).tolist()
        chosen.append((row, column))
        free[max(0, row - side + 1) : row + side, max(0, column - side + 1) : column + side] = False
    return np.array(chosen, int).reshape(-1, 2)


def _disc(radius_mm: float) -> np.ndarray:
    reach = int(radius_mm / PIXEL_MM)
    at = np.arange(-reach, reach + 1) * PIXEL_MM
    return np.hypot(at[:, None], at) <= radius_mm


def make_detection_task(
    info: str | Path,
    volume: str | Path,
    task: str | Path,
    *,
    layout: int,
    repeat: int,
    diameter_mm: float,
    density_hu: float,
    sites: int,
    slices: int,
    clip_hu: tuple[float, float] | None = None,
) -> None:
    """Scan the chest of a series with nodules and without them.

    Parameters
    ----------
    info : path
        JSON of the series: its heights, slice thickness and exposure are those of the task.
    volume : path
        The .npy to write: int16 HU (2 slices, 512, 512), of each height first without, then with nodules, each with
        noise of its own.
    task : path
        The JSON to write, like that of a series, and under `detection`: `diameter_mm`, `hu`, `side_px`, and `pairs`,
        of each height the slices `absent` and `present`, the height `chest_z_mm`, and `rows` and `columns` of the
        nodules. `z_mm` counts the slices up, farther apart than they are thick, for none of them shares noise.
    layout, repeat : int
        Which chest and scan.
    diameter_mm, density_hu : float
        Of the nodules.
    sites : int
        Nodules in a slice.
    slices : int
        Heights, spread evenly over those of the series.
    clip_hu : (low, high), optional
        HU are clipped to it, as in a picture on a grey scale.

    Raises
    ------
    UserError
        If the lung has not so many places at one of the heights.
    """
    facts = read_info(info)
    thickness, exposure = float(facts["slice_thickness_mm"]), facts["exposure_mas"]
    heights = np.linspace(min(facts["z_mm"]), max(facts["z_mm"]), slices)
    chest, pairs = phantom(layout), []
    with new_volume(volume, (2 * slices, ROWS, ROWS)) as scans:
        for k, z in enumerate(heights.tolist()):
            absent = chest.render_slice(z, thickness, with_nodules=False)
            places = detection_sites(absent, diameter_mm, sites, np.random.default_rng([layout, 6, repeat, k]))
            if len(places) < sites:
                raise UserError(
                    f"The key detection.sites is {sites}, but at {z:g} mm the lungs of {info} have room for "
                    f"{len(places)} nodules of {diameter_mm:g} mm; make it or detection.diameter_mm smaller."
                )
            present = absent.copy()
            insert_nodules(present, [_nodule(place, z, diameter_mm, density_hu) for place in places], z, thickness)
            for index, truth in ((2 * k, absent), (2 * k + 1, present)):
                rng = np.random.default_rng([layout, 7, repeat, index])
                hu = scan_truth(truth, thickness, float("inf") if exposure is None else exposure, rng)
                scans[index] = to_int16(np.clip(hu, *(clip_hu or STORED_HU)))
            rows, columns = places.T.tolist()
            pairs.append({"absent": 2 * k, "present": 2 * k + 1, "chest_z_mm": z, "rows": rows, "columns": columns})
    own = {"z_mm": [2 * thickness * k for k in range(2 * slices)], "shape": [2 * slices, ROWS, ROWS]}
    kept = ("spacing_mm", "slice_thickness_mm", "kernel", "kvp", "exposure_mas", "manufacturer", "model")
    detection: dict[str, Any] = {"diameter_mm": diameter_mm, "hu": density_hu, "pairs": pairs}
    detection["side_px"] = region_side(diameter_mm, PIXEL_MM)
    write_info(task, {key: facts.get(key) for key in kept} | own | {"detection": detection})
    logger.info("%d heights with %d nodules of %g mm and %g HU", slices, sites, diameter_mm, density_hu)


def _nodule(place: np.ndarray, z_mm: float, diameter_mm: float, hu: float) -> Nodule:
    """Put a nodule into the middle of a pixel."""
    y, x = ((place - (ROWS - 1) / 2) * PIXEL_MM).tolist()
    return Nodule((x, y, z_mm), diameter_mm, hu)
