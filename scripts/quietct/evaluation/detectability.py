"""How well the nodules of a detection task can be told from their absence in what a method makes of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from quietct.ct.volume import Volume
from quietct.evaluation.observer import CHANNELS, WIDTH_OF_DIAMETER, channel_outputs, detectability, laguerre_gauss

# The covariance of the channels is estimated from the pairs; with fewer, d' would be far too low.
MIN_PAIRS = 10 * CHANNELS


def regions_of(volume: Volume | np.ndarray, pairs: list[dict[str, Any]], kind: str, side: int) -> np.ndarray:
    """Cut the regions around all places out of the slices of a kind.

    Parameters
    ----------
    volume : Volume or ndarray (slices, rows, columns)
        HU.
    pairs : list of dict
        As `quietct.ct.detection.make_detection_task` writes them.
    kind : {'present', 'absent'}
    side : int
        Odd, pixels.

    Returns
    -------
    ndarray (places, side, side)
    """
    half = side // 2
    return np.array(
        [
            image[row - half : row + half + 1, column - half : column + half + 1].copy()
            for pair in pairs
            for image in [volume[pair[kind]]]
            for row, column in zip(pair["rows"], pair["columns"], strict=True)
        ]
    )


def measure_detectability(volume: Volume | np.ndarray, facts: Mapping[str, Any]) -> dict[str, object]:
    """Let a channelised Hotelling observer look for the nodules; see `quietct.evaluation.observer`.

    Parameters
    ----------
    volume : Volume or ndarray (slices, rows, columns)
        The task as a method returned it, HU.
    facts : mapping
        JSON of the task: `detection` and `spacing_mm`.

    Returns
    -------
    dict
        `d_prime`, `interval` (95 %), `auc`, `n_present`, `n_absent`, `diameter_mm`, `hu`; or `missing`, a sentence.
    """
    task = facts["detection"]
    pairs, side, pixel_mm = task["pairs"], task["side_px"], float(facts["spacing_mm"][1])
    group = np.repeat(np.arange(len(pairs)), [len(pair["rows"]) for pair in pairs])
    if len(pairs) < 2 or len(group) < MIN_PAIRS:
        return {
            "missing": f"The detection task has {len(group)} places in {len(pairs)} slices, but the observer needs "
            f"{MIN_PAIRS} in two or more."
        }
    channels = laguerre_gauss(side, WIDTH_OF_DIAMETER * task["diameter_mm"] / pixel_mm)
    present, absent = (
        channel_outputs(regions_of(volume, pairs, kind, side), channels) for kind in ("present", "absent")
    )
    try:
        found = detectability(present, absent, group)
    except ValueError:
        return {"missing": "All places of the detection task look alike."}
    return {
        "d_prime": found.d_prime,
        "interval": list(found.interval),
        "auc": found.auc,
        "n_present": len(present),
        "n_absent": len(absent),
        "diameter_mm": task["diameter_mm"],
        "hu": task["hu"],
    }
