"""One table of a run: the mean quality of every method at every noise."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from quietct.errors import UserError
from quietct.evaluation.metrics import METRICS, REFERENCE_METRICS
from quietct.files import written_whole
from quietct.methods import split_method

logger = logging.getLogger(__name__)


def summarise(slices: pd.DataFrame) -> pd.DataFrame:
    """Average slice metrics per noise and method.

    Parameters
    ----------
    slices : DataFrame
        Rows as `measure_quality` writes them, of any number of series and methods.

    Returns
    -------
    DataFrame
        noise, method, network, variant, seed, n_slices, the means of the metrics over all slices (each slice counts
        once) and the window; sorted by noise, then the best PSNR first. network, variant and seed are missing for
        methods that are no network. Means of ceiling_psnr_db and rmse_corrected_hu are missing where one slice has
        none, because a mean over other slices than those of psnr_db and rmse_hu could not be compared with it.
    """
    keys = ["noise", "method", "window_low_hu", "window_high_hu"]
    groups = slices.groupby(keys, sort=True)
    table = groups[list(METRICS)].mean()
    for column in REFERENCE_METRICS:
        table[column] = groups[column].agg(lambda values: values.mean(skipna=False))
    table.insert(0, "n_slices", groups.size())
    table = table.reset_index()
    parts = [split_method(method) for method in table["method"]]
    for column, values in zip(("network", "variant", "seed"), zip(*parts, strict=True), strict=True):
        table[column] = pd.array(values, dtype="Int64" if column == "seed" else "string")
    metrics = [*METRICS, *REFERENCE_METRICS]
    order = ["noise", "method", "network", "variant", "seed", "n_slices", *metrics, "window_low_hu", "window_high_hu"]
    # The method breaks ties, so that the order does not depend on the order of the files.
    return table.sort_values(["noise", "psnr_db", "method"], ascending=[True, False, True], ignore_index=True)[order]


def summarize_quality(metrics: Sequence[str | Path], summary_tsv: str | Path) -> None:
    """Join slice tables, average them and write the summary.

    Parameters
    ----------
    metrics : sequence of paths
        Tables written by `measure_quality`.
    summary_tsv : path
        The table to write; see `summarise` for its columns.

    Raises
    ------
    UserError
        If there is nothing to summarise.
    """
    if not metrics:
        raise UserError(
            "There is nothing to summarise: the series sheet needs at least one series with the role test or both."
        )
    # Names such as "nan" or "1" are names: pandas would otherwise turn them into numbers.
    names = {"noise": str, "method": str, "series": str}
    empty = {name: [""] for name in REFERENCE_METRICS}
    tables = [
        pd.read_csv(path, sep="\t", dtype=names, keep_default_na=False, na_values=empty) for path in metrics
    ]  # fmt: skip
    table = summarise(pd.concat(tables, ignore_index=True))
    with written_whole(summary_tsv) as partial:
        table.to_csv(partial, sep="\t", index=False, float_format="%.6g")
    logger.info("Means over the test slices:\n%s", readable(table))


def readable(table: pd.DataFrame) -> str:
    """Lay out a summary for a log: a heading per noise and window, and a line per method.

    Where the noise of the targets is known, the heading says what PSNR it allows, and a column the corrected RMSE.
    """
    lines = []
    for (noise, low, high), group in table.groupby(["noise", "window_low_hu", "window_high_hu"], sort=False):
        width = max(map(len, group["method"]))
        ceiling, corrected = group["ceiling_psnr_db"].iloc[0], bool(group["rmse_corrected_hu"].notna().all())
        limit = "" if pd.isna(ceiling) else f"; the targets' own noise allows {ceiling:.2f} dB at most"
        lines.append(f"noise {noise} (PSNR and SSIM in the window {low:g} to {high:g} HU{limit})")
        heading = "  corrected" if corrected else ""
        lines.append(f"  {'method':<{width}}  PSNR dB   SSIM  RMSE HU{heading}  bias HU  slices")
        for row in group.itertuples():
            cell = f"  {row.rmse_corrected_hu:9.1f}" if corrected else ""
            lines.append(
                f"  {row.method:<{width}}  {row.psnr_db:7.2f}  {row.ssim:5.3f}"
                f"  {row.rmse_hu:7.1f}{cell}  {row.bias_hu:+7.1f}  {row.n_slices:6d}"
            )
    return "\n".join(lines)
