"""Which slices of two series lie at the same height, and whether the series may be compared at all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from quietct.errors import UserError

# Fraction of a step that two heights may differ by: half of what lies between "the same" and "half a step beside".
TOLERANCE_STEPS = 0.25


def match_heights(scan_mm: np.ndarray, other_mm: np.ndarray, tolerance_mm: float) -> np.ndarray:
    """Pair slices one to one: each with the nearest of the other series, if it is that one's nearest in turn.

    Parameters
    ----------
    scan_mm, other_mm : ndarray (slices,)
        Heights along the normal, mm, in any order.
    tolerance_mm : float
        The most that two partners may differ by; a millionth of a millimetre more is rounding.

    Returns
    -------
    ndarray of int (scan's slices,)
        Index of the partner in the other series; -1 for none.
    """
    distance = np.abs(np.asarray(scan_mm, float)[:, None] - np.asarray(other_mm, float)[None, :])
    partner = np.full(len(distance), -1)
    if distance.size:
        nearest, back = distance.argmin(axis=1), distance.argmin(axis=0)
        own = np.arange(len(distance))
        paired = (back[nearest] == own) & (distance[own, nearest] <= tolerance_mm + 1e-6)
        partner[paired] = nearest[paired]
    return partner


def step_mm(info: dict[str, Any]) -> float:
    """Median distance of neighbouring slices, mm; of a single slice its thickness, or 1 if that is unknown."""
    z = np.asarray(info["z_mm"], float)
    return float(np.median(np.diff(z))) if len(z) > 1 else info.get("slice_thickness_mm") or 1.0


def pair_slices(series: str, scan: dict[str, Any], name: str, other: dict[str, Any]) -> np.ndarray:
    """Find the partner of each slice of a scan in another series.

    Heights may differ by a quarter of the smaller step of the two.

    Parameters
    ----------
    series, name : str
        Names of the scan and of the other series, for messages.
    scan, other : dict
        Their facts, as `convert_series` writes them.

    Returns
    -------
    ndarray of int (scan's slices,)
        Index in the other series; -1 for none.

    Raises
    ------
    UserError
        If no slice has a partner, or fewer than half of those that lie between the other's ends.
    """
    z, z_other = np.asarray(scan["z_mm"], float), np.asarray(other["z_mm"], float)
    steps = step_mm(scan), step_mm(other)
    tolerance = TOLERANCE_STEPS * min(steps)
    partner = match_heights(z, z_other, tolerance)
    within = (z >= z_other.min() - tolerance) & (z <= z_other.max() + tolerance)
    if not within.any():
        raise UserError(
            f"Series {series} ({_span(z)}) and its target {name} ({_span(z_other)}) have no height in common. "
            "Name another series in the column `target`."
        )
    found = np.count_nonzero(partner >= 0)
    if 2 * found < np.count_nonzero(within):
        beside = float(np.median(np.abs(z[within, None] - z_other[None, :]).min(axis=1)))
        raise UserError(
            f"Slices of series {series} (every {steps[0]:g} mm) and of its target {name} (every {steps[1]:g} mm) lie "
            f"{beside:.3g} mm beside each other; {found} of {np.count_nonzero(within)} have a partner within a "
            f"quarter of a step ({tolerance:.3g} mm). Name another series in the column `target`."
        )
    return partner


def _span(z: np.ndarray) -> str:
    return f"{z.min():g} to {z.max():g} mm"


def check_comparable(series: str, scan: dict[str, Any], name: str, other: dict[str, Any]) -> None:
    """Refuse a target that shows something else than the scan with other noise; exposures may differ.

    Parameters
    ----------
    series, name : str
        Names of the scan and of its target, for messages.
    scan, other : dict
        Their facts, as `convert_series` writes them.

    Raises
    ------
    UserError
        If they differ in size, pixel spacing, orientation, gantry tilt, slice thickness, kernel or tube voltage.
    """
    for key, what, same in RULES:
        one, two = scan.get(key), other.get(key)
        if key == "shape":
            one, two = scan["shape"][1:], other["shape"][1:]
        if not same(one, two):
            raise UserError(
                f"Series {series} and its target {name} differ in {what}: {_shown(one)} and {_shown(two)}. Name a "
                "series of the same geometry and reconstruction in the column `target`."
            )


def _near(relative: float, absolute: float) -> Callable[[Any, Any], bool]:
    def same(one: Any, two: Any) -> bool:
        if one is None or two is None:
            return one is two
        return bool(np.allclose(one, two, rtol=relative, atol=absolute))

    return same


def _same_tilt(one: float | None, two: float | None) -> bool:
    return one is None or two is None or abs(one - two) <= 0.1  # degrees; unknown for a single slice


def _shown(value: Any) -> str:
    if value is None:
        return "unknown"
    values: Sequence[Any] = value if isinstance(value, list) else [value]
    separator = ", " if len(values) > 2 else " x "
    return separator.join(f"{part:g}" if isinstance(part, (int, float)) else str(part) for part in values)


# A relative spacing error of 1e-4 moves the edge of a 512 x 512 image by 0.03 pixels.
RULES: tuple[tuple[str, str, Callable[[Any, Any], bool]], ...] = (
    ("shape", "size (rows x columns)", lambda one, two: one == two),
    ("spacing_mm", "pixel spacing (mm)", _near(1e-4, 0)),
    ("orientation", "orientation", _near(0, 1e-3)),
    ("gantry_tilt_deg", "gantry tilt (degrees)", _same_tilt),
    ("slice_thickness_mm", "slice thickness (mm)", _near(1e-3, 0)),
    ("kernel", "kernel", lambda one, two: one == two),
    ("kvp", "tube voltage (kV)", _near(1e-3, 0)),
)
