"""Whether a series is like the data that a network was trained on.

A network is good at what it has seen. On other pixels, kernels or noise it gives an image all the same, only a worse
one; so what differs is told beforehand.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from quietct.apply.description import describe, joined, percent_range, unit_range
from quietct.spread import spread_over
from quietct.training_data import lung_fraction, noise_level, training_facts

__all__ = ["describe", "differences", "slices_to_compare", "training_facts"]

SIZE_FACTOR = 1.2  # of pixels and slice thickness
NOISE_FACTOR = 1.5
KVP_APART = 5.0
HU_APART = 100.0
DARK_APART = 300.0  # a small field of view may show lung and still no air
SHARE_OUTSIDE = 0.005  # of the pixels
SHARE_CLIPPED = 0.001
LUNG_FACTOR, LUNG_APART = 3.0, 0.1
AIR_HU = -1024.0  # lower values stand for what was not measured
COMPARED_SLICES = 5

UNKNOWN = "These weights do not say what data they were trained on, so that nothing could be compared with it."


def slices_to_compare(count: int) -> list[int]:
    """Choose which slices of a series to give to `differences`: a few, spread over it."""
    return spread_over(range(count), COMPARED_SLICES)


def differences(description: Mapping[str, Any], info: Mapping[str, Any], slices: Sequence[np.ndarray]) -> list[str]:
    """Tell in what a series differs from the training data of a network.

    Compared are the size of pixels and slices, the kernel, the tube voltage, the noise, the range of HU, and how much
    of the body is lung. That is all: it cannot tell a head from a belly, a child from an adult or the sick from the
    healthy, and does not know of artefacts, metal or contrast agent as such.

    Parameters
    ----------
    description : mapping
        Of the network, from `quietct.nn.weights.load_network`.
    info : mapping
        Of the series, from `quietct.ct.dicom.convert.series_info`.
    slices : sequence of ndarray (rows, columns)
        Some of its slices as the network gets them, HU; see `slices_to_compare`.

    Returns
    -------
    list of str
        Sentences; none if all that is known is alike.
    """
    facts = description.get("training_data")
    if not isinstance(facts, Mapping):
        return [UNKNOWN]
    found = _of_header(facts, info)
    found += _of_noise(facts.get("noise_hu"), noise_level(slices))
    of_range = _of_range(facts.get("hu_quantiles"), np.stack(slices))
    # Where values are cut off or new, the density of lung says nothing.
    found += of_range or _of_lung(facts.get("lung_fraction"), lung_fraction(slices))
    return found


def _of_header(facts: Mapping[str, Any], info: Mapping[str, Any]) -> list[str]:
    found, unknown = [], []
    spacing, thickness = info.get("spacing_mm"), info.get("slice_thickness_mm")
    kernel, kvp = info.get("kernel"), info.get("kvp")
    if trained := facts.get("spacing_mm"):
        if not spacing:
            unknown.append("the size of its pixels")
        elif _is_outside(spacing, trained, SIZE_FACTOR):
            own = unit_range((min(spacing), max(spacing)), "mm")
            found.append(f"The pixels measure {own}; those of the training data {unit_range(trained, 'mm')}.")
    if trained := facts.get("slice_thickness_mm"):
        if not thickness:
            unknown.append("the thickness of its slices")
        elif _is_outside([thickness], trained, SIZE_FACTOR):
            found.append(
                f"The slices are {thickness:.3g} mm thick; those of the training data {unit_range(trained, 'mm')}."
            )
    if kernels := facts.get("kernels"):
        if not kernel:
            unknown.append("its kernel")
        elif kernel.casefold() not in {name.casefold() for name in kernels}:
            found.append(f"The kernel is {kernel}; the training data had {joined(kernels)}.")
    if voltages := facts.get("kvp"):
        if not kvp:
            unknown.append("its tube voltage")
        elif min(abs(kvp - voltage) for voltage in voltages) > KVP_APART:
            trained = joined([f"{voltage:g}" for voltage in voltages])
            found.append(f"The tube voltage is {kvp:g} kV; the training data had {trained} kV.")
    if unknown:
        found.append(f"The series does not tell {joined(unknown)}, so that this could not be compared.")
    return found


def _is_outside(values: Sequence[float], trained: Sequence[float], factor: float) -> bool:
    return min(values) < trained[0] / factor or max(values) > trained[1] * factor


def _of_noise(trained: Sequence[float] | None, own: float | None) -> list[str]:
    if not trained:
        return []
    if own is None:
        return ["The noise could not be compared with that of the training data: the slices show no tissue."]
    if not _is_outside([own], trained, NOISE_FACTOR):
        return []
    stronger = own > trained[1]
    return [
        f"The noise is {own:.3g} HU (finest detail in tissue), {'stronger' if stronger else 'weaker'} than the "
        f"{unit_range(trained, 'HU')} of the training data: the network may "
        f"{'leave some of it' if stronger else 'take fine detail for noise'}."
    ]


def _of_range(quantiles: Mapping[str, float] | None, hu: np.ndarray) -> list[str]:
    if not quantiles:
        return []
    found = []
    lowest, low, high = (max(quantiles[q], AIR_HU) for q in ("0.001", "0.01", "0.999"))
    below, above = ((hu < lowest - HU_APART) & (hu >= AIR_HU)).mean(), (hu > high + HU_APART).mean()
    if below > SHARE_OUTSIDE:
        found.append(f"{below:.1%} of the pixels are far below the training data, which begin at {lowest:.0f} HU.")
    if above > SHARE_OUTSIDE:
        found.append(f"{above:.1%} of the pixels are far above the training data, which end at {high:.0f} HU.")
    if hu.min() > low + DARK_APART:
        found.append(
            f"No pixel is below {hu.min():.0f} HU, where the training data had air or lung down to {low:.0f} HU: the "
            "series shows none, or was clipped to a window."
        )
    if hu.max() < high - HU_APART and (hu == hu.max()).mean() > SHARE_CLIPPED:
        found.append(
            f"Many pixels are at {hu.max():.0f} HU and none above, where the training data went up to {high:.0f} HU: "
            "the series was clipped to a window."
        )
    return found


def _of_lung(trained: Sequence[float] | None, own: float | None) -> list[str]:
    if not trained or own is None:
        return []
    less = own < trained[0] / LUNG_FACTOR and own < trained[0] - LUNG_APART
    more = own > trained[1] * LUNG_FACTOR and own > trained[1] + LUNG_APART
    if not (less or more):
        return []
    return [
        f"{own:.0%} of the body has the density of lung, in the training data {percent_range(trained)}: "
        "this may be another part of the body."
    ]
