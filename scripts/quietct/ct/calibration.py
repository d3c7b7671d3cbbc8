"""Calibrate the noise model `low_dose`: a scanner's photons and kernel from repeat scans of one object."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from quietct.ct.clipping import clipped_at_hu, fill_clipped_air
from quietct.ct.low_dose import Scanner
from quietct.ct.matching import DIFFERENT
from quietct.ct.noise_fit import REALISATIONS, NoiseComparison, NoisyRegions, compare_noise, fit_scanner
from quietct.ct.noisy_regions import region_side, usable_regions
from quietct.ct.pairing import RULES, TOLERANCE_STEPS, match_heights, step_mm
from quietct.ct.projection import is_circular, project
from quietct.ct.registration import Shift, estimate_shift, settled_shifts, shifted
from quietct.ct.volume import Volume, open_volume, read_info, write_info
from quietct.errors import UserError

logger = logging.getLogger(__name__)

MAX_SLICES = 24  # enough to tell the photons within a few per cent; time and memory grow with them
MIN_REGIONS = 20
UNSEEN = (len(REALISATIONS), len(REALISATIONS) + 1)  # the fit's own random streams begin with the numbers below
FIRST_GUESS_PHOTONS = 1e5
LOWER_SHARE = 0.75  # of the frequencies up to Nyquist's: where the spectra are compared


@dataclass(frozen=True)
class Repeat:
    """One of the scans: its name, its volume (slices, rows, columns) and its facts."""

    name: str
    volume: Volume
    info: dict[str, Any]


def calibrate_noise(
    volumes: Sequence[str | Path],
    infos: Sequence[str | Path],
    fit_json: str | Path,
    *,
    calibration: str,
    electronic_noise: float = 0.0,
    bowtie_mm: float | None = None,
    views: int = 360,
) -> None:
    """Find the photons and the kernel with which simulated noise is like that of repeat scans.

    The noise is what differs between the repeats once they are registered, in regions of the body without edges. The
    simulation starts from their mean. What noise the mean has left changes a line integral by a few per cent at random,
    and the simulated variance, an average over all directions, by less than one in a thousand.

    Parameters
    ----------
    volumes, infos : sequence of path
        Two or more repeat scans of one object at one dose: int16 HU, and their facts. Slices are paired by height with
        those of the first one. No more than one slice of each is held at a time.
    fit_json : path
        Where `photons`, `exposure_mas`, `slice_thickness_mm`, `electronic_noise`, `bowtie_mm`, `views` and `kernel` go,
        and under `fit` how well they reproduce the noise.
    calibration : str
        Its name in the config, for messages.
    electronic_noise, bowtie_mm, views : float, float or None, int
        See `Scanner`; they are not fitted.

    Raises
    ------
    UserError
        If there are fewer than two repeats, they differ in geometry, reconstruction or dose, are the same image, show
        different objects, or have no region in which noise can be measured.
    """
    start = Scanner(FIRST_GUESS_PHOTONS, electronic_noise, bowtie_mm, None, views)
    repeats = [
        Repeat(Path(volume).stem, open_volume(volume), read_info(info))
        for volume, info in zip(volumes, infos, strict=True)
    ]
    if len(repeats) < 2:
        raise UserError(
            f"Calibration {calibration} has {len(repeats)} series; noise is what differs between two or more repeat "
            "scans. Name more in its key `series`."
        )
    for other in repeats[1:]:
        _check_repeat(calibration, repeats[0], other)
    pixel_mm = _pixel_mm(calibration, repeats[0])
    partners = _partners(calibration, repeats)
    _check_independent(calibration, repeats, partners)
    shifts = _shifts(calibration, repeats, partners)
    told = ~np.isnan(shifts).any(axis=(0, 2))
    partners, shifts = partners[:, told], shifts[:, told]
    slices = _noisy_regions(repeats, partners, shifts, pixel_mm, views)
    count = sum(len(part.corners) for part in slices)
    if count < MIN_REGIONS:
        raise UserError(
            f"Calibration {calibration} finds {count} regions of {region_side(pixel_mm)} x {region_side(pixel_mm)} "
            f"pixels inside the body, without edges and clipped values, and needs {MIN_REGIONS}. Name repeats with "
            "more soft tissue in its key `series`, or those of a water phantom."
        )
    scanner = fit_scanner(slices, start)
    # Noise that the fit has not seen; twice, to know how much two regions differ by chance alone.
    found, again = (compare_noise(slices, scanner, seed) for seed in UNSEEN)
    fit = fit_quality(found, again, pixel_mm) | {
        "region_mm": region_side(pixel_mm) * pixel_mm,
        "slices": len(slices),
        "repeats": len(repeats),
        "series": [repeat.name for repeat in repeats],
        "z_mm": [repeats[0].info["z_mm"][k] for k in partners[0]],
        "shift_px": [shift.round(3).tolist() for shift in shifts[1:]],
    }
    assert scanner.kernel is not None
    info = repeats[0].info
    write_info(
        fit_json,
        {
            "photons": scanner.photons,
            "exposure_mas": info.get("exposure_mas"),
            "slice_thickness_mm": info.get("slice_thickness_mm"),
            "electronic_noise": electronic_noise,
            "bowtie_mm": bowtie_mm,
            "views": views,
            "kernel": {
                "frequency_per_mm": np.round(scanner.kernel.frequency_per_mm, 5).tolist(),
                "gain": np.round(scanner.kernel.gain, 5).tolist(),
            },
            "fit": fit,
        },
    )
    logger.info(
        "%s: %.4g photons; %d regions of %d slices, standard deviation measured / simulated %.3f (16th to 84th "
        "percentile %.3f to %.3f), spectra differ by %.1f %%",
        calibration, scanner.photons, count, len(slices), *fit["sd_ratio"].values(), 100 * fit["nps_rms_error"],
    )  # fmt: skip


def fit_quality(found: NoiseComparison, again: NoiseComparison, pixel_mm: float) -> dict[str, Any]:
    """Sum up how well simulated noise reproduces the measured one.

    Parameters
    ----------
    found, again : NoiseComparison
        The same measured noise beside two independent simulations.
    pixel_mm : float

    Returns
    -------
    dict
        `sd_ratio`, measured over simulated standard deviation of the regions: median, 16th and 84th percentile;
        `sd_ratio_by_chance`, the same of one simulation over the other; `nps_rms_error`, root mean square of simulated
        / measured - 1 of the mean ring averages over the lower 75 % of the frequencies; `regions`; `nps`, these
        averages themselves (HU² mm²); and `region_sd_hu`, the standard deviation in each region.
    """
    frequency = found.frequency
    measured, simulated = found.measured.mean(axis=(0, 1)), (found.simulated + again.simulated).mean(axis=(0, 1)) / 2
    lower = (frequency > 0) & (frequency <= LOWER_SHARE * 0.5 / pixel_mm)
    simulated_sd = np.sqrt((found.simulated_sd**2 + again.simulated_sd**2) / 2)
    return {
        "sd_ratio": _percentiles(found.measured_sd / simulated_sd),
        "sd_ratio_by_chance": _percentiles(found.simulated_sd / again.simulated_sd),
        "nps_rms_error": float(np.sqrt(np.mean((simulated[lower] / measured[lower] - 1) ** 2))),
        "regions": len(found.measured),
        "nps": {
            "frequency_per_mm": frequency.round(5).tolist(),
            "measured": measured.round(4).tolist(),
            "simulated": simulated.round(4).tolist(),
            "nyquist_per_mm": found.nyquist_per_mm,
        },
        "region_sd_hu": {
            "measured": found.measured_sd.round(3).tolist(),
            "simulated": simulated_sd.round(3).tolist(),
        },
    }


def _percentiles(ratio: np.ndarray) -> dict[str, float]:
    low, middle, high = np.percentile(ratio, (16, 50, 84))
    return {"median": float(middle), "p16": float(low), "p84": float(high)}


def _check_repeat(calibration: str, first: Repeat, other: Repeat) -> None:
    """Refuse what is no repeat: another geometry, reconstruction or dose."""
    rules = (*RULES, ("exposure_mas", "exposure (mAs)", _same_exposure))
    for key, what, same in rules:
        one, two = (repeat.info.get(key) for repeat in (first, other))
        if key == "shape":
            one, two = first.volume.shape[1:], other.volume.shape[1:]
        if not same(one, two):
            raise UserError(
                f"Calibration {calibration}: {first.name} and {other.name} differ in {what}: {one} and {two}. Name "
                "repeats of one scan in its key `series`."
            )


def _same_exposure(one: float | None, two: float | None) -> bool:
    return one is two if one is None or two is None else abs(one - two) <= 0.01 * max(one, two)


def _pixel_mm(calibration: str, repeat: Repeat) -> float:
    """Side of the square pixels, the same in all repeats."""
    spacing = np.asarray(repeat.info.get("spacing_mm") or [], dtype=np.float64)
    if spacing.shape != (2,) or not (np.isfinite(spacing).all() and (spacing > 0).all()):
        raise UserError(
            f"Calibration {calibration} needs the pixel spacing in mm, which the facts of {repeat.name} do not tell. "
            "Name other series in its key `series`."
        )
    if abs(spacing[0] - spacing[1]) > 1e-3 * spacing[1]:
        raise UserError(
            f"Calibration {calibration} needs square pixels, but those of {repeat.name} are {spacing[0]:g} x "
            f"{spacing[1]:g} mm. Name other series in its key `series`."
        )
    return float(spacing[1])


def _partners(calibration: str, repeats: list[Repeat]) -> np.ndarray:
    """Pair slices by height and choose some, evenly over the scan: indices (repeats, slices)."""
    tolerance = TOLERANCE_STEPS * min(step_mm(repeat.info) for repeat in repeats)
    z = [np.asarray(repeat.info["z_mm"], float) for repeat in repeats]
    partners = np.stack([match_heights(z[0], other, tolerance) for other in z])
    common = np.flatnonzero((partners >= 0).all(axis=0))
    if not len(common):
        raise UserError(
            f"Calibration {calibration}: {', '.join(repeat.name for repeat in repeats)} have no height that is common "
            "to all. Name repeats of one scan in its key `series`."
        )
    chosen = np.unique(np.linspace(0, len(common) - 1, MAX_SLICES).round().astype(int))
    return partners[:, common[chosen]]


def _check_independent(calibration: str, repeats: list[Repeat], partners: np.ndarray) -> None:
    """Refuse the same images under two names."""
    for (one, k), (two, j) in combinations(zip(repeats, partners, strict=True), 2):
        if all(np.array_equal(one.volume[a], two.volume[b]) for a, b in zip(k, j, strict=True)):
            raise UserError(
                f"Calibration {calibration}: {one.name} and {two.name} are the same images, so there is no noise "
                "between them. Name repeat scans in its key `series`."
            )


def _shifts(calibration: str, repeats: list[Repeat], partners: np.ndarray) -> np.ndarray:
    """Register each repeat to the first one: (repeats, slices, 2) pixels, NaN where a slice does not tell."""
    first, shifts = repeats[0], [np.zeros((partners.shape[1], 2))]
    for repeat, own in zip(repeats[1:], partners[1:], strict=True):
        found = [estimate_shift(first.volume[k], repeat.volume[j]) for k, j in zip(partners[0], own, strict=True)]
        likeness = float(np.median(np.nan_to_num([estimate.correlation for estimate in found])))
        if likeness < DIFFERENT:
            raise UserError(
                f"Calibration {calibration}: {first.name} and {repeat.name} do not show the same object (correlation "
                f"{likeness:.2f}). Name repeats of one scan in its key `series`."
            )
        shifts.append(_settled(found))
    return np.stack(shifts)


def _settled(estimates: list[Shift]) -> np.ndarray:
    """Shifts of the chosen slices; they lie too far apart to lend each other one, save where nothing moves."""
    shifts = settled_shifts(estimates)
    if shifts.any():
        shifts[[not estimate.known for estimate in estimates]] = np.nan
    return shifts


def _noisy_regions(
    repeats: list[Repeat], partners: np.ndarray, shifts: np.ndarray, pixel_mm: float, views: int
) -> list[NoisyRegions]:
    """Measure the noise of the slices, one after the other; those without a usable region are left out."""
    ends = (min(int(r.volume.min()) for r in repeats), max(int(r.volume.max()) for r in repeats))
    clipped_at = clipped_at_hu(repeats[0].volume)
    circle = all(is_circular(repeats[0].volume[k]) for k in partners[0])
    slices = []
    for chosen, moves in zip(partners.T, shifts.swapaxes(0, 1), strict=True):
        images = np.stack([shifted(r.volume[k], move) for r, k, move in zip(repeats, chosen, moves, strict=True)])
        corners, power = usable_regions(images, pixel_mm, ends)
        if len(corners):
            sinogram = project(fill_clipped_air(images.mean(axis=0), clipped_at), pixel_mm, views, circle=circle)
            slices.append(NoisyRegions(sinogram, corners, power))
    return slices
