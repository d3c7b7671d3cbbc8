"""What a method leaves of each nodule: its contrast, against that of the target, and its contrast-to-noise ratio."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from quietct.ct.volume import Volume
from quietct.evaluation.nodule_sections import Section
from quietct.evaluation.task_transfer import contrast_to_noise


def by_nodule(found: Sequence[Section]) -> dict[int, list[Section]]:
    """Gather the sections of each nodule, in the order of the table."""
    numbers = sorted({section.nodule for section in found})
    return {number: [section for section in found if section.nodule == number] for number in numbers}


def measure_nodules(
    images: Volume | np.ndarray,
    targets: Volume | np.ndarray,
    found: Sequence[Section],
    table: pd.DataFrame,
    z_mm: Sequence[float],
    exact_target: bool,
) -> dict[str, object]:
    """Measure contrast, contrast recovery and CNR of each nodule.

    Contrast is the mean HU of the nodule's core minus that of its clear surroundings; recovery is the image's contrast
    over the target's in the same pixels: 1 keeps the nodule, less blends it into the lung. CNR as in AAPM Task Group
    233 (Samei et al., Med. Phys. 46(11), 2019): contrast over the standard deviation beside it.

    Parameters
    ----------
    images, targets : Volume or ndarray (slices, rows, columns)
        HU.
    found : sequence of Section
        Of slices near the middles of nodules; a nodule's contrast and CNR are means over its sections.
    table : DataFrame
        The nodules.
    z_mm : sequence of float
        Heights of the slices.
    exact_target : bool
        See `contrast_to_noise`.

    Returns
    -------
    dict
        `rows`: row, column, z_mm, diameter_mm, hu, slice (nearest to the middle), contrast_hu, target_contrast_hu,
        recovery and cnr of each; means of recovery and cnr over the nodules as `contrast_recovery` and `cnr`. A cnr
        without any noise is None. Or `missing`, a sentence.
    """
    rows = []
    for number, own in by_nodule(found).items():
        nodule = table.iloc[number]
        contrast, cnr = [], []
        for section in own:
            image, target = section.cut(images), section.cut(targets)
            contrast.append(image[section.core].mean() - image[section.background].mean())
            cnr.append(contrast_to_noise(image, target, section, exact_target))
        wanted = float(np.mean([section.contrast_hu for section in own]))
        rows.append(
            nodule.to_dict()
            | {
                "slice": int(min(own, key=lambda section: abs(z_mm[section.index] - nodule["z_mm"])).index),
                "contrast_hu": float(np.mean(contrast)),
                "target_contrast_hu": wanted,
                "recovery": float(np.mean(contrast)) / wanted,
                "cnr": float(np.mean(cnr)) if np.isfinite(cnr).all() else None,
            }
        )
    if not rows:
        return {"missing": "No nodule that stands out clearly is cut near its middle by a measured slice."}
    ratios = [row["cnr"] for row in rows]
    return {
        "rows": rows,
        "contrast_recovery": float(np.mean([row["recovery"] for row in rows])),
        "cnr": None if None in ratios else float(np.mean(ratios)),
    }
