"""Measure a denoised series against its target, slice by slice.

PSNR and SSIM depend on the grey-value window they are measured in, so every table carries the windows with them. Where
the target is a scan with noise of its own, no image can reach more than a ceiling; both the ceiling and an RMSE without
the target's noise are given then. docs/measures.md explains every column.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from quietct.ct.clipping import GreyScale, grey_scale
from quietct.ct.nodule_table import read_nodules
from quietct.ct.split import Split, read_slices, test_slices
from quietct.ct.volume import is_failed, open_alike, open_volume, read_info
from quietct.errors import UserError
from quietct.evaluation.columns import MEASURES, METRICS, WINDOW_COLUMNS
from quietct.evaluation.metrics import bias_hu, rmse_corrected_hu, rmse_hu, ssim
from quietct.evaluation.noise_index import noise_index_hu
from quietct.evaluation.psnr import psnr_db
from quietct.evaluation.tissues import slice_tissues, tissue_errors
from quietct.evaluation.vif import vif
from quietct.evaluation.windows import LUNG_HU, MEDIASTINUM_HU, holds
from quietct.files import written_whole

logger = logging.getLogger(__name__)


def measure_quality(
    clean: str | Path,
    info: str | Path,
    image: str | Path,
    metrics_tsv: str | Path,
    noise: str,
    method: str,
    series: str,
    window_hu: Sequence[float],
    split: Split | None = None,
    scan: str | Path | None = None,
    nodules: str | Path | None = None,
) -> None:
    """Compare a volume with its target, slice by slice, and write a table.

    Parameters
    ----------
    clean, image : path
        Volumes of equal shape, HU; read one slice at a time. The first is the target, clean or another scan.
    info : path
        JSON of the series, for the slice positions `z_mm`. Where `target` in it tells the noise of the target,
        ceiling_psnr_db and rmse_corrected_hu can be had.
    metrics_tsv : path
        The table to write: noise, method, series, slice, z_mm, `quietct.evaluation.columns.MEASURES`, and the ends of
        the windows. A slice equal to its target has the PSNR `inf`. A cell is empty where there is nothing to measure,
        and all measures of a slice are where the method failed (`quietct.ct.volume.NO_VALUE`).
    noise, method, series : str
        What is compared; copied into every row.
    window_hu : (low, high)
        Window of psnr_db and ssim, HU.
    split : mapping or None
        The config's `split`: only slices that it holds out are measured.
    scan : path or None
        The scan before noise was added and before denoising, in HU as they came: it tells whether the grey scale ends
        within a window. None takes the target.
    nodules : path or None
        Table of the nodules (`quietct.ct.nodule_truth`); None or no rows if none is known.

    Raises
    ------
    UserError
        If the shapes differ, the positions don't fit the volume, the split holds no slice out, or the table of nodules
        cannot be read.
    """
    scale = grey_scale(open_volume(clean if scan is None else scan))
    known = None if nodules is None else read_nodules(nodules)
    table = pd.DataFrame(_slice_rows(clean, info, image, window_hu, split, scale, known))
    for column, value in enumerate((noise, method, series)):
        table.insert(column, ("noise", "method", "series")[column], value)
    table[list(WINDOW_COLUMNS)] = [*window_hu, *LUNG_HU, *MEDIASTINUM_HU]
    with written_whole(metrics_tsv) as partial:
        table.to_csv(partial, sep="\t", index=False, float_format="%.6g")
    _log(table, f"{series}, {noise}, {method}", window_hu)


def _log(table: pd.DataFrame, what: str, window_hu: Sequence[float]) -> None:
    measured = table[table["psnr_db"].notna()]
    if len(measured) < len(table):
        failed = len(table) - len(measured)
        logger.warning("%s: %d of %d slices have no value, so nothing of them is measured", what, failed, len(table))
    if not len(measured):
        return
    logger.info(
        "%s: PSNR %.2f dB, SSIM %.3f, RMSE %.1f HU, bias %+.1f HU (means of %d slices, window %g to %g HU)",
        what, *measured[list(METRICS)].mean(), len(measured), *window_hu,
    )  # fmt: skip
    for name, window in (("lung", LUNG_HU), ("mediastinum", MEDIASTINUM_HU)):
        means = measured[[f"psnr_{name}_db", f"ssim_{name}"]].mean()
        if means.isna().any():
            logger.info("%s: not measured in the %s window, %g to %g HU: the scan's grey scale ends within it",
                        what, name, *window)  # fmt: skip
        else:
            logger.info("%s: PSNR %.2f dB, SSIM %.3f in the %s window, %g to %g HU", what, *means, name, *window)


def _slice_rows(
    clean_path: str | Path,
    info_path: str | Path,
    image_path: str | Path,
    window_hu: Sequence[float],
    split: Split | None,
    scale: GreyScale,
    nodules: pd.DataFrame | None,
) -> Iterator[dict[str, float]]:
    clean, image = open_alike(clean_path, image_path)
    facts: dict[str, Any] = read_info(info_path)
    positions, target = facts["z_mm"], facts.get("target") or {}
    unknown = [None] * len(positions)
    ceilings, noises = target.get("ceiling_psnr_db", unknown), target.get("noise_hu", unknown)
    if len(positions) != len(clean):
        raise UserError(
            f"{info_path} lists {len(positions)} slice positions and {clean_path} has {len(clean)} slices. "
            "Delete both and run again."
        )
    for index in np.flatnonzero(read_slices(test_slices, info_path, split, len(clean))).tolist():
        row = {"slice": index, "z_mm": positions[index], **dict.fromkeys(MEASURES, float("nan"))}
        one = image[index]
        if not is_failed(one):
            other = clean[index]
            row |= slice_quality(one, other, window_hu, scale)
            row |= tissue_errors(one, other, slice_tissues(other, scale, facts, index, nodules))
            row["ceiling_psnr_db"] = float("nan") if ceilings[index] is None else ceilings[index]
            row["rmse_corrected_hu"] = rmse_corrected_hu(row["rmse_hu"], noises[index])
        yield row


def slice_quality(
    image: np.ndarray, target: np.ndarray, window_hu: Sequence[float], scale: GreyScale
) -> dict[str, float]:
    """Measure one slice.

    Parameters
    ----------
    image, target : ndarray (rows, columns)
        HU.
    window_hu : (low, high)
        Window of psnr_db and ssim, HU.
    scale : GreyScale
        Where the scan's grey scale ends; what lies beyond is not measured.

    Returns
    -------
    dict
        Measures of `quietct.evaluation.columns` by name; those that cannot be had are NaN or left out.
    """
    wanted = {("psnr_db", "ssim"): (float(window_hu[0]), float(window_hu[1]))}
    for name, window in (("lung", LUNG_HU), ("mediastinum", MEDIASTINUM_HU)):
        if holds(scale, window):
            wanted[f"psnr_{name}_db", f"ssim_{name}"] = window
    found = {window: (psnr_db(image, target, window), ssim(image, target, window)) for window in set(wanted.values())}
    measures = {"rmse_hu": rmse_hu(image, target), "bias_hu": bias_hu(image, target)}
    for names, window in wanted.items():
        measures |= dict(zip(names, found[window], strict=True))
    return measures | {"vif": vif(image, target), "noise_index_hu": noise_index_hu(image)}
