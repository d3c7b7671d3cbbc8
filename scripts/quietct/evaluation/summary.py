"""One table of a run: the mean quality of every method at every noise, and why a mean is missing."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from quietct.errors import UserError
from quietct.evaluation.columns import MEASURES, REASONS, REFERENCE_METRICS, WINDOW_COLUMNS
from quietct.evaluation.physics_summary import COLUMNS, summarise_physics
from quietct.files import written_whole
from quietct.methods import split_method

logger = logging.getLogger(__name__)

NAMES = ("noise", "method", "series")
FAILED = "{} of {} slices have no value, so that means would be of other slices than those of the other methods"
INFINITE = "a PSNR is infinite: within its window an image equals its target in a slice"


def summarise(slices: pd.DataFrame) -> pd.DataFrame:
    """Average slice measures per noise and method.

    A mean is given only where it can be compared with those of the other methods. What no method has in a slice, such
    as the error in a nodule where there is none, leaves the slice out for all of them. What one method lacks and
    another has leaves the one without a mean. A method that failed in one slice has no means at all. Those of
    `REFERENCE_METRICS` need every slice, because they are read beside psnr_db and rmse_hu.

    Parameters
    ----------
    slices : DataFrame
        Rows as `measure_quality` writes them, of any number of series and methods.

    Returns
    -------
    DataFrame
        noise, method, network, variant, seed, n_slices, n_failed, the means of `MEASURES` over the slices (each counts
        once), `WINDOW_COLUMNS`, and `notes`, which explain every missing mean; sorted by noise, then the best PSNR
        first. network, variant and seed are missing for methods that are no network.
    """
    keys, measures = ["noise", "method", *WINDOW_COLUMNS], list(MEASURES)
    groups = slices.groupby(keys, sort=True)
    of_slice = slices.groupby(["noise", "series", "slice", *WINDOW_COLUMNS])[measures]
    counts = (of_slice.transform("count") > 0).assign(**dict.fromkeys(REFERENCE_METRICS, True))
    wanted = counts.groupby([slices[key] for key in keys]).sum()
    found = groups[measures].count()
    failed = groups["psnr_db"].agg(lambda values: int(values.isna().sum()))
    table = groups[measures].mean().where(found.eq(wanted) & failed.eq(0).to_numpy()[:, None])
    table.insert(0, "n_slices", groups.size())
    table.insert(1, "n_failed", failed)
    table["notes"] = [_notes(row, wanted.loc[key] > found.loc[key]) for key, row in table.iterrows()]
    table = table.reset_index()
    parts = [split_method(method) for method in table["method"]]
    for column, values in zip(("network", "variant", "seed"), zip(*parts, strict=True), strict=True):
        table[column] = pd.array(values, dtype="Int64" if column == "seed" else "string")
    order = ["noise", "method", "network", "variant", "seed", "n_slices", "n_failed", *MEASURES, *WINDOW_COLUMNS]
    # The method breaks ties, so that the order does not depend on the order of the files.
    table = table.sort_values(["noise", "psnr_db", "method"], ascending=[True, False, True], ignore_index=True)
    return table[[*order, "notes"]]


def _notes(row: pd.Series, lacking: pd.Series) -> str:
    """Explain the empty cells of a row, measures of one reason together, and infinite ones."""
    if row["n_failed"]:
        return FAILED.format(int(row["n_failed"]), int(row["n_slices"]))
    columns: dict[str, list[str]] = {}
    for name in MEASURES:
        if pd.isna(row[name]):
            own = lacking[name] and name not in REFERENCE_METRICS
            reason = "a slice lacks what it has with another method" if own else REASONS[name]
            columns.setdefault(reason, []).append(name)
    sentences = [f"no {', '.join(names)}: {reason}" for reason, names in columns.items()]
    if np.isinf(row[list(MEASURES)].astype(float)).any():
        sentences.append(INFINITE)
    return "; ".join(sentences)


def with_physics(table: pd.DataFrame, physics: pd.DataFrame) -> pd.DataFrame:
    """Put the columns of `summarise_physics` before those of the windows, and its notes after the others."""
    joined = table.join(physics.rename(columns={"notes": "more"}), on=["noise", "method"])
    both = zip(joined["notes"], joined.pop("more"), strict=True)
    joined["notes"] = ["; ".join(note for note in pair if note) for pair in both]
    before = [name for name in table if name not in (*WINDOW_COLUMNS, "notes")]
    return joined[[*before, *COLUMNS, *WINDOW_COLUMNS, "notes"]]


def summarize_quality(
    metrics: Sequence[str | Path], summary_tsv: str | Path, physics: Sequence[str | Path] = ()
) -> None:
    """Join slice tables, average them and write the summary.

    Parameters
    ----------
    metrics : sequence of paths
        Tables written by `measure_quality`.
    summary_tsv : path
        The table to write; see `summarise` and `with_physics` for its columns.
    physics : sequence of paths
        JSONs written by `measure_physics` for the same methods; without any, the table lacks their columns.

    Raises
    ------
    UserError
        If there is nothing to summarise.
    """
    if not metrics:
        raise UserError(
            "There is nothing to summarise: the series sheet needs at least one series with the role test or both."
        )
    table = summarise(pd.concat([read_slices_table(path) for path in metrics], ignore_index=True))
    if physics:
        table = with_physics(table, summarise_physics(physics))
    with written_whole(summary_tsv) as partial:
        table.to_csv(partial, sep="\t", index=False, float_format="%.6g")
    logger.info("Means over the test slices:\n%s", readable(table))


def read_slices_table(path: str | Path) -> pd.DataFrame:
    """Read a table that `measure_quality` wrote: names are text, an empty measure is NaN.

    Names such as "nan" or "1" are names: pandas would otherwise turn them into numbers.
    """
    empty = {name: [""] for name in MEASURES}
    names = dict.fromkeys(NAMES, str)
    return pd.read_csv(path, sep="\t", dtype=names, keep_default_na=False, na_values=empty)


# Heading, column and format of the log's table.
SHOWN = (
    ("PSNR dB", "psnr_db", ".2f"),
    ("SSIM", "ssim", ".3f"),
    ("RMSE HU", "rmse_hu", ".1f"),
    ("corrected", "rmse_corrected_hu", ".1f"),
    ("bias HU", "bias_hu", "+.1f"),
    ("lung dB", "psnr_lung_db", ".2f"),
    ("SSIM", "ssim_lung", ".3f"),
    ("mediast. dB", "psnr_mediastinum_db", ".2f"),
    ("SSIM", "ssim_mediastinum", ".3f"),
    ("VIF", "vif", ".3f"),
    ("noise HU", "noise_index_hu", ".1f"),
    ("TTF50 /mm", "ttf50_per_mm", ".3f"),
    ("d'", "d_prime", ".2f"),
    ("slices", "n_slices", "d"),
)


def readable(table: pd.DataFrame) -> str:
    """Lay out a summary for a log: a heading per noise and windows, and a line per method; then the notes.

    Where the noise of the targets is known, the heading says what PSNR it allows. A measure that no method has gets no
    column, and a single missing one a dash.
    """
    lines = []
    for (noise, *ends), group in table.groupby(["noise", *WINDOW_COLUMNS], sort=False):
        ceiling = group["ceiling_psnr_db"].max()
        limit = "" if pd.isna(ceiling) else f"; the targets' own noise allows {ceiling:.2f} dB at most"
        own, lung, mediastinum = (f"{low:g} to {high:g} HU" for low, high in zip(ends[::2], ends[1::2], strict=True))
        lines.append(f"noise {noise} (PSNR and SSIM in the window {own}{limit})")
        lines.append(
            f"  (lung dB and mediast. dB, each with the SSIM after it: in the windows {lung} and {mediastinum})"
        )
        shown = [column for column in SHOWN if column[1] in group and group[column[1]].notna().any()]
        cells = [["method", *(heading for heading, _, _ in shown)]]
        for _, row in group.iterrows():
            cells.append(
                [row["method"], *("–" if pd.isna(row[name]) else f"{row[name]:{form}}" for _, name, form in shown)]
            )
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        for method, *values in cells:
            right = (f"{value:>{width}}" for value, width in zip(values, widths[1:], strict=True))
            lines.append("  ".join(["", f"{method:<{widths[0]}}", *right]))
        sentences = group.assign(notes=group["notes"].str.split("; ")).explode("notes")
        for sentence, methods in sentences[sentences["notes"] != ""].groupby("notes", sort=False)["method"]:
            which = "all methods" if len(methods) == len(group) else ", ".join(methods)
            lines.append(f"  {which}: {sentence}")
    return "\n".join(lines)
