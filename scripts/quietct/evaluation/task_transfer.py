"""Task transfer function (TTF): how much of an edge's contrast is left at each spatial frequency.

The circular-edge method of Richard et al., Med. Phys. 39(7), 2012, which AAPM Task Group 233 (Samei et al., Med. Phys.
46(11), 2019) asks for: values over their distance to the edge of a round object, averaged over its circumference, are
the edge spread function; its slope is the line spread function, and the Fourier transform of that the TTF. It is the
modulation transfer function for this object's contrast and this noise: a method that is not linear has another one for
other contrasts.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from quietct.ct.volume import Volume
from quietct.evaluation.nodule_sections import OUTSIDE_MM, Section

INSIDE_MM = OUTSIDE_MM  # a section must have this radius, so that its edge has two sides
BIN_MM = 0.1
FREQUENCY_STEP_PER_MM = 0.02
# The CNR of all averaged edges together. Task Group 233 asks for 5 or more of one edge, or for averaging; at 15 in all,
# repeats of a measurement scatter by about 3 % in the frequency where the TTF falls to a half.
MIN_TOTAL_CNR = 15.0


def edge_spread(images: Sequence[np.ndarray], found: Sequence[Section]) -> np.ndarray:
    """Average the edge spread function over sections.

    Parameters
    ----------
    images : sequence of ndarray
        Pixels of each section, HU, of the shape of its `edge_mm`.
    found : sequence of Section
        Edges of equal or different contrast; the stronger ones count more, as least squares would have it for equal
        noise.

    Returns
    -------
    ndarray of float64 (bins,)
        1 inside, 0 outside, in steps of `BIN_MM` from `INSIDE_MM` inside the edge to `OUTSIDE_MM` outside of it.
    """
    bins = round((INSIDE_MM + OUTSIDE_MM) / BIN_MM)
    weighted, weights = np.zeros(bins), np.zeros(bins)
    for image, section in zip(images, found, strict=True):
        number = np.floor((section.edge_mm + INSIDE_MM) / BIN_MM).astype(int)
        used = section.clear & (number >= 0) & (number < bins)
        step = section.contrast_hu * (image[used] - section.background_hu)
        weighted += np.bincount(number[used], step, bins)
        weights += np.bincount(number[used], np.full(used.sum(), section.contrast_hu**2), bins)
    filled = np.flatnonzero(weights)
    return np.interp(np.arange(bins), filled, weighted[filled] / weights[filled])


def transfer(edge: np.ndarray, frequency_per_mm: np.ndarray) -> np.ndarray:
    """Compute the transfer function of an edge spread function.

    Parameters
    ----------
    edge : ndarray (bins,)
        From `edge_spread`.
    frequency_per_mm : ndarray
        Where it is wanted, cycles/mm; 0 first.

    Returns
    -------
    ndarray of float64
        1 at 0. What averaging in bins takes away is given back. The outer halves of the line spread function are faded
        out, for there is only noise and the unevenness of the lung.

    Raises
    ------
    ValueError
        If the edge has no step.
    """
    line = -np.diff(edge) / BIN_MM
    line = line * fading_window(len(line))
    at = BIN_MM * (np.arange(len(line)) - (len(line) - 1) / 2)
    spectrum = np.abs(np.exp(-2j * np.pi * frequency_per_mm[:, None] * at) @ line)
    if not spectrum[0] > 0:
        raise ValueError("There is no edge.")
    return spectrum / spectrum[0] / np.sinc(frequency_per_mm * BIN_MM) ** 2


def fading_window(length: int) -> np.ndarray:
    """Tukey's window of 0.5: its outer quarters rise from 0 like a cosine, and between them it is 1.

    SciPy has it too, in a module that takes a second to load.
    """
    from_end = np.minimum(np.arange(length), np.arange(length)[::-1]) / (length - 1)
    return 0.5 - 0.5 * np.cos(np.pi * np.minimum(4 * from_end, 1))


def frequency_at(frequency_per_mm: np.ndarray, values: np.ndarray, level: float = 0.5) -> float | None:
    """Find the frequency where a transfer function first falls to a level, by linear interpolation; None if nowhere."""
    below = np.flatnonzero(values <= level)
    if not len(below) or below[0] == 0:
        return None
    k = below[0]
    share = (values[k - 1] - level) / (values[k - 1] - values[k])
    return float(frequency_per_mm[k - 1] + share * (frequency_per_mm[k] - frequency_per_mm[k - 1]))


def contrast_to_noise(image: np.ndarray, target: np.ndarray, section: Section, exact_target: bool) -> float:
    """Contrast of a section over the noise beside it; infinite without noise.

    Parameters
    ----------
    image, target : ndarray
        Pixels of the section, HU.
    section : Section
    exact_target : bool
        Whether noise is image minus target, or the deviation of the image itself.

    Returns
    -------
    float
        |mean of the core - mean of the surroundings| / standard deviation in the surroundings.
    """
    contrast = image[section.core].mean() - image[section.background].mean()
    noise = (image - target if exact_target else image)[section.background].std(ddof=1)
    return float(abs(contrast) / noise) if noise > 0 else float("inf")


def measure_task_transfer(
    images: Volume | np.ndarray,
    targets: Volume | np.ndarray,
    found: Sequence[Section],
    pixel_mm: float,
    exact_target: bool,
) -> dict[str, object]:
    """Measure the transfer function at the edges of nodules, and that of the target beside it.

    Parameters
    ----------
    images, targets : Volume or ndarray (slices, rows, columns)
        HU.
    found : sequence of Section
        Of nodules near their middles; those of a smaller radius than `INSIDE_MM` are left out.
    pixel_mm : float
    exact_target : bool
        See `contrast_to_noise`.

    Returns
    -------
    dict
        `frequency_per_mm` up to the Nyquist frequency, `ttf`, `ttf50_per_mm` (where it falls to 0.5; None if nowhere),
        `n_nodules`, `cnr` (root of the sum of the squared CNRs of all edges, None without any noise), `target` with
        `ttf` and `ttf50_per_mm`; or `missing`, a sentence.
    """
    used = [section for section in found if section.radius_mm >= INSIDE_MM]
    if not used:
        return {
            "missing": f"No nodule with a radius of {INSIDE_MM:g} mm or more and clear surroundings is cut near its "
            "middle by a measured slice."
        }
    patches = [(section.cut(images), section.cut(targets)) for section in used]
    cnr = np.array(
        [contrast_to_noise(*patch, section, exact_target) for patch, section in zip(patches, used, strict=True)]
    )
    total = float(np.sqrt(np.square(cnr).sum()))
    if total < MIN_TOTAL_CNR:
        return {
            "missing": f"The edges of all nodules together have a CNR of {total:.1f}, but {MIN_TOTAL_CNR:g} are needed."
        }
    frequency = np.arange(0, 1 / (2 * pixel_mm), FREQUENCY_STEP_PER_MM)
    curves = []
    for own in zip(*patches, strict=True):
        try:
            curves.append(transfer(edge_spread(own, used), frequency))
        except ValueError:
            return {"missing": "The image shows no edge where the nodules are."}
    ttf, target_ttf = curves
    return {
        "frequency_per_mm": frequency.round(6).tolist(),
        "ttf": ttf.tolist(),
        "ttf50_per_mm": frequency_at(frequency, ttf),
        "n_nodules": len({section.nodule for section in used}),
        "cnr": total if np.isfinite(total) else None,
        "target": {"ttf": target_ttf.tolist(), "ttf50_per_mm": frequency_at(frequency, target_ttf)},
    }
