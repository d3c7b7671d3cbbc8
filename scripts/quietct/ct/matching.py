"""Bring the targets of a scan to its slices and its pixel grid.

The scan is what a network sees, so it is never resampled; only its targets are moved.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from quietct.ct.averaging import mean_and_noise
from quietct.ct.pairing import check_comparable, pair_slices
from quietct.ct.registration import LARGEST_SHIFT_PX, Shift, estimate_shift, settled_shifts, shifted
from quietct.ct.volume import Volume, new_volume, open_volume, read_info, to_int16, write_info
from quietct.errors import UserError

logger = logging.getLogger(__name__)

# Correlation of smoothed slices. Repeats of a chest phantom have 0.998, neighbouring slices of it (2.5 mm) 0.98, slices
# 12 mm apart 0.82, two different heights of the chest 0.6.
DOUBTFUL, DIFFERENT = 0.95, 0.8


@dataclass(frozen=True)
class Target:
    """One of the series that make a target: its volume (slices, rows, columns), its facts, the scan's partners."""

    name: str
    volume: Volume
    info: dict[str, Any]
    partners: np.ndarray


def match_target(
    scan: str | Path,
    scan_info: str | Path,
    targets: Sequence[str | Path],
    target_infos: Sequence[str | Path],
    matched: str | Path,
    matched_info: str | Path,
    target: str | Path,
    *,
    series: str,
    names: Sequence[str],
    window_hu: Sequence[float],
) -> None:
    """Average the targets of a scan on its slices and its pixel grid.

    Slices are paired by height (see `pair_slices`), and those without a partner in every target are left out. Each
    target is registered to the scan, slice by slice (see `registration`); where no shift is told from chance, it is
    taken as it is. One slice of each series is held at a time.

    Parameters
    ----------
    scan, scan_info : path
        The scan's volume (int16 HU) and its facts.
    targets, target_infos : sequence of path
        The same of the targets.
    matched, matched_info : path
        Where the scan's paired slices go, and their facts with what is known of the target: under `target` its
        `series`, `exposure_mas`, the heights `z_mm` of the first one, `shift_px` (per target and slice: row, column)
        and its standard deviation `shift_sd_px`, the scan's `unmatched_z_mm`, and per slice `noise_hu`, the standard
        deviation of the mean's noise, and `ceiling_psnr_db`, the PSNR that the noise-free truth has against it in the
        window. Both come from the spread of two or more targets, or from half the squared difference to a scan of
        equal exposure. What is unknown is null.
    target : path
        Where the mean of the targets goes: int16 HU, same shape as `matched`.
    series : str
        Name of the scan.
    names : sequence of str
        Names of the targets.
    window_hu : (low, high)
        The grey window of PSNR, HU.

    Raises
    ------
    UserError
        If a target differs from the scan in geometry or reconstruction, is the same scan, shows another object, or if
        no height is common to all.
    """
    image, info = open_volume(scan), read_info(scan_info)
    # By name, so that the order in the sheet changes nothing.
    ordered = sorted(zip(names, targets, target_infos, strict=True))
    if not ordered:
        raise UserError(f"Series {series} has no target to match. Name one in the column `target`.")
    pairs = [_opened(series, info, name, volume, facts) for name, volume, facts in ordered]
    kept = np.flatnonzero(np.all([pair.partners >= 0 for pair in pairs], axis=0))
    if not len(kept):
        raise UserError(
            f"Series {series} and its targets {', '.join(pair.name for pair in pairs)} have no height that is common "
            "to all. Name fewer series in the column `target`."
        )
    _check_different(series, info, pairs, kept)
    estimates = [[estimate_shift(image[k], pair.volume[pair.partners[k]]) for k in kept] for pair in pairs]
    shifts = [_settled(series, pair.name, found) for pair, found in zip(pairs, estimates, strict=True)]
    noise: list[float | None] = []
    ceiling: list[float | None] = []
    shape = (len(kept), *image.shape[1:])
    alike = len(pairs) == 1 and _equal_exposure(info, pairs[0].info)
    with new_volume(matched, shape) as scan_slices, new_volume(target, shape) as target_slices:
        for n, k in enumerate(kept):
            moved = (
                shifted(pair.volume[pair.partners[k]], shift[n]) for pair, shift in zip(pairs, shifts, strict=True)
            )
            own = image[k]
            mean, variance, windowed_variance = mean_and_noise(moved, window_hu, own if alike else None)
            scan_slices[n], target_slices[n] = own, to_int16(mean)
            noise.append(None if variance is None else variance**0.5)
            ceiling.append(-10 * float(np.log10(windowed_variance)) if windowed_variance else None)
        left_out = np.delete(np.asarray(info["z_mm"], float), kept).tolist()
        facts = {
            "series": [pair.name for pair in pairs],
            "exposure_mas": [_finite(pair.info.get("exposure_mas")) for pair in pairs],
            "z_mm": [pairs[0].info["z_mm"][j] for j in pairs[0].partners[kept]],
            "shift_px": [shift.round(4).tolist() for shift in shifts],
            "shift_sd_px": [[_finite(round(shift.sd_px, 4)) for shift in found] for found in estimates],
            "unmatched_z_mm": left_out,
            "noise_hu": noise,
            "ceiling_psnr_db": ceiling,
        }
        write_info(matched_info, _cut(info, kept) | {"target": facts})
    listed = ", ".join(pair.name for pair in pairs)
    logger.info("%s: %d of %d slices have a partner in %s", series, len(kept), len(image), listed)
    if left_out:
        logger.warning("%s: left out, as no target lies at %s mm", series, ", ".join(f"{z:g}" for z in left_out))


def _opened(series: str, scan: dict[str, Any], name: str, volume: str | Path, facts: str | Path) -> Target:
    info = read_info(facts)
    check_comparable(series, scan, name, info)
    return Target(name, open_volume(volume), info, pair_slices(series, scan, name, info))


def _check_different(series: str, scan: dict[str, Any], pairs: list[Target], kept: np.ndarray) -> None:
    """Refuse one image in two places: its noise would not be independent, and no measure would tell."""
    for k in kept:
        seen: dict[tuple[str, int], str] = {}
        for name, facts, index in (series, scan, k), *((pair.name, pair.info, pair.partners[k]) for pair in pairs):
            identity = _identity(facts, index)
            if identity is None:
                continue
            if identity in seen:
                raise UserError(
                    f"Series {seen[identity]} and {name} are the same scan (SOPInstanceUID {identity[0]}), but "
                    f"the target of {series} needs independent ones. Leave one out of the column `target`."
                )
            seen[identity] = name


def _identity(info: dict[str, Any], k: int) -> tuple[str, int] | None:
    uid, frames = info["sop_instance_uids"][k], info.get("frames")
    return (uid, frames[k] if frames else 1) if uid else None


def _settled(series: str, name: str, estimates: list[Shift]) -> np.ndarray:
    """Check what registration found, tell it, and decide on the shifts: (slices, 2) pixels."""
    size = np.hypot(*np.array([estimate.px for estimate in estimates]).T)
    known = [estimate for estimate in estimates if estimate.known]
    if np.median(size) > LARGEST_SHIFT_PX:
        raise UserError(
            f"Target {name} lies {np.median(size):.0f} pixels beside series {series}; {LARGEST_SHIFT_PX:g} can be "
            "mended. Name a repeat of the same position in the column `target`."
        )
    likeness = float(np.median([e.correlation for e in estimates if np.isfinite(e.correlation)] or [np.nan]))
    if likeness < DIFFERENT:
        raise UserError(
            f"Target {name} does not show what series {series} shows: the correlation of slices at the same height is "
            f"{likeness:.2f}, and below {DIFFERENT:g}. Name a scan of the same object in the column `target`."
        )
    if not known:
        logger.warning("%s: nothing tells how %s lies on it; taken as it is", series, name)
        return settled_shifts(estimates)
    if likeness < DOUBTFUL:
        logger.warning("%s and %s: their slices correlate by %.2f only; is it the same place?", series, name, likeness)
    if len(known) < len(estimates):
        logger.warning(
            "%s on %s: %d of %d slices show too little and move as their neighbours do",
            name, series, len(estimates) - len(known), len(estimates),
        )  # fmt: skip
    shifts = settled_shifts(estimates)
    rms = float(np.sqrt(np.mean([sum(part**2 for part in estimate.px) for estimate in known])))
    sd = float(np.median([estimate.sd_px for estimate in known]))
    logger.info(
        "%s on %s: shift %.3f px (root mean square), uncertain by %.3f px a slice; %s",
        name, series, rms, sd, "moved" if shifts.any() else "not moved",
    )  # fmt: skip
    return shifts


def _equal_exposure(scan: dict[str, Any], other: dict[str, Any]) -> bool:
    one, two = _finite(scan.get("exposure_mas")), _finite(other.get("exposure_mas"))
    return bool(one and two and abs(one - two) <= 0.01 * max(one, two))


def _finite(value: float | None) -> float | None:
    """JSON has neither NaN nor infinity."""
    return value if value is not None and np.isfinite(value) else None


def _cut(info: dict[str, Any], kept: np.ndarray) -> dict[str, Any]:
    """Facts of a series cut to some of its slices."""
    cut = {key: [info[key][k] for k in kept] for key in ("z_mm", "sop_instance_uids", "frames") if info.get(key)}
    steps = np.diff(cut["z_mm"])
    step = np.quantile(steps, (0, 0.5, 1), method="lower").round(6).tolist() if len(steps) else None
    return info | cut | {"step_mm": step, "shape": [len(kept), *info["shape"][1:]]}
