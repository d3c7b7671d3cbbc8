"""The measures of a medical physicist for one method on one series, in one JSON.

Each measure stands by itself: what cannot be had is `{"missing": sentence}`, and the others stay.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from quietct.ct.split import Split, read_slices, test_slices
from quietct.ct.volume import read_info, write_info
from quietct.evaluation.homogeneous import measure_noise_power, noise_regions
from quietct.evaluation.metrics import open_alike

logger = logging.getLogger(__name__)

MEASURES = ("noise_power", "task_transfer", "nodules", "detectability")


def measure_physics(
    target: str | Path,
    info: str | Path,
    image: str | Path,
    nodules: str | Path,
    physics_json: str | Path,
    *,
    noise: str,
    method: str,
    series: str,
    exact_target: bool,
    split: Split | None = None,
) -> None:
    """Measure noise power, task transfer, nodules and detectability of a method, and write them down.

    Parameters
    ----------
    target, image : path
        Volumes of equal shape, HU.
    info : path
        JSON of the series.
    nodules : path
        Table of the nodules; see `quietct.ct.nodule_truth`.
    physics_json : path
        The file to write: `noise`, `method`, `series`, and under each name of `MEASURES` what it found, or `missing`.
    noise, method, series : str
        What is measured.
    exact_target : bool
        Whether the target is the truth, without noise of its own.
    split : mapping or None
        The config's `split`: only slices that it holds out are measured.

    Raises
    ------
    UserError
        If the volumes do not belong together.
    """
    targets, images = open_alike(target, image)
    facts = read_info(info)
    chosen = np.flatnonzero(read_slices(test_slices, info, split, len(targets)))
    found: dict[str, Any] = {name: {"missing": "It is not measured yet."} for name in MEASURES}
    found |= _of_slices(targets[chosen], images[chosen], facts, exact_target)
    write_info(physics_json, {"noise": noise, "method": method, "series": series} | found)


def _of_slices(
    targets: np.ndarray, images: np.ndarray, facts: Mapping[str, Any], exact_target: bool
) -> dict[str, dict[str, Any]]:
    pixel_mm = float(facts["spacing_mm"][1])
    regions = noise_regions(images, targets, pixel_mm, exact_target)
    return {"noise_power": measure_noise_power(regions, pixel_mm)}
