"""The measures of a medical physicist for one method on one series, in one JSON.

Each measure stands by itself: what cannot be had is `{"missing": sentence}`, and the others stay.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from quietct.ct.clipping import GreyScale, grey_scale
from quietct.ct.nodule_table import read_nodules
from quietct.ct.split import Split, read_slices, test_slices
from quietct.ct.volume import Volume, is_failed, open_alike, open_volume, read_info, write_info
from quietct.evaluation.detectability import measure_detectability
from quietct.evaluation.homogeneous import measure_noise_power, noise_regions
from quietct.evaluation.nodule_sections import sections
from quietct.evaluation.nodules import measure_nodules
from quietct.evaluation.task_transfer import measure_task_transfer

logger = logging.getLogger(__name__)

MEASURES = ("noise_power", "task_transfer", "nodules", "detectability")
NEAR_THE_MIDDLE = 0.5  # in radii: there, the edge of a sphere stands steeply enough in a slice


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
    task: str | Path | None = None,
    task_info: str | Path | None = None,
    no_task: str | None = None,
    scan: str | Path | None = None,
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
    task, task_info : path, optional
        The detection task as the method returned it, and its JSON.
    no_task : str, optional
        Why there is no task.
    scan : path, optional
        The scan before noise was added and before denoising: it tells where the grey scale ends. None takes the target.

    Raises
    ------
    UserError
        If the volumes do not belong together.
    """
    targets, images = open_alike(target, image)
    facts = read_info(info)
    chosen = np.flatnonzero(read_slices(test_slices, info, split, len(targets)))
    scale = grey_scale(open_volume(target if scan is None else scan))
    found = _of_slices(images, targets, facts, chosen, read_nodules(nodules), exact_target, scale)
    found["detectability"] = {"missing": no_task}
    if task is not None and task_info is not None:
        found["detectability"] = _of_task(open_volume(task), read_info(task_info))
    write_info(physics_json, {"noise": noise, "method": method, "series": series} | found)
    for name in MEASURES:
        if "missing" in found[name]:
            logger.info("%s, %s, %s: no %s. %s", series, noise, method, name.replace("_", " "), found[name]["missing"])


def _of_slices(
    images: Volume,
    targets: Volume,
    facts: dict[str, Any],
    chosen: np.ndarray,
    table: pd.DataFrame,
    exact_target: bool,
    scale: GreyScale,
) -> dict[str, dict[str, Any]]:
    """Measure all that is seen in the test slices themselves."""
    failed = sum(is_failed(images[k]) for k in chosen)
    if failed:
        # Of the other slices alone the numbers could not be compared with those of other methods.
        return _none(f"The method failed in {failed} of {len(chosen)} slices.")
    row_mm, pixel_mm = (float(value) for value in facts["spacing_mm"])
    if abs(row_mm - pixel_mm) > 1e-3 * pixel_mm:
        return _none("The pixels are not square.")
    seen, wanted = (images[k] for k in chosen), (targets[k] for k in chosen)
    regions = noise_regions(seen, wanted, pixel_mm, exact_target)
    noise = {"noise_power": measure_noise_power(regions, pixel_mm)}
    if table.empty:
        return _none("It is not known where the series has nodules.") | noise
    z_mm = facts["z_mm"]
    cut = list(sections(table, targets, z_mm, chosen.tolist(), pixel_mm, NEAR_THE_MIDDLE))
    found = [section for section in cut if section.lies_within(scale)]
    if cut and not found:
        return _none("The grey scale of the scan ends within the nodules or what is around them.") | noise
    return noise | {
        "task_transfer": measure_task_transfer(images, targets, found, pixel_mm, exact_target),
        "nodules": measure_nodules(images, targets, found, table, z_mm, exact_target),
    }


def _none(why: str) -> dict[str, dict[str, Any]]:
    """Say of all that is seen in the test slices why it is missing."""
    return {name: {"missing": why} for name in MEASURES if name != "detectability"}


def _of_task(volume: Volume, facts: dict[str, Any]) -> dict[str, Any]:
    """Measure what is seen in the detection task."""
    failed = sum(is_failed(image) for image in volume)
    if failed:
        return {"missing": f"The method failed in {failed} of {len(volume)} slices of the detection task."}
    return measure_detectability(volume, facts)
