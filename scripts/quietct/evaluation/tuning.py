"""The free parameters of a baseline, chosen on training slices."""

from __future__ import annotations

import itertools
import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from quietct.ct.split import Split, read_slices, training_slices
from quietct.ct.volume import Volume, open_alike
from quietct.errors import UserError
from quietct.evaluation.baselines import bind
from quietct.evaluation.psnr import psnr_db
from quietct.files import written_whole

logger = logging.getLogger(__name__)


def tune_baseline(
    clean: Sequence[str | Path],
    noisy: Sequence[str | Path],
    settings_json: str | Path,
    baseline: str,
    grid: Mapping[str, Sequence[Any]],
    tuning_slices: int,
    window_hu: Sequence[float],
    infos: Sequence[str | Path] | None = None,
    split: Split | None = None,
) -> None:
    """Try every combination of a grid on a few training slices and write the best down.

    Parameters
    ----------
    clean, noisy : sequences of paths
        Volumes of the training series, in the same order; the first are the targets.
    settings_json : path
        The file to write: baseline, settings, tuning_psnr_db, and `tried` with every combination and its PSNR.
    baseline : str
        A key of `BASELINES`.
    grid : mapping of str to list
        Values to try for each parameter.
    tuning_slices : int
        How many slices, spread evenly over all the series together.
    window_hu : (low, high)
        Window of the PSNR that decides, HU. Of equals the combination tried first wins.
    infos : sequence of paths, optional
        JSON of the series, in the same order, for a split.
    split : mapping, optional
        The config's `split`; slices that it holds out are not used.

    Raises
    ------
    UserError
        If the baseline or one of its parameters does not exist, a list is empty, or the split leaves a series no slice.
    """
    if empty := [name for name, values in grid.items() if not values]:
        raise UserError(f"The key baselines: {baseline}: {empty[0]} is an empty list; give at least one value.")
    pairs = spread_slices(clean, noisy, tuning_slices, infos, split)
    tried: list[dict[str, Any]] = []
    for values in itertools.product(*grid.values()):
        settings = dict(zip(grid, values, strict=True))
        denoise = bind(baseline, settings)
        try:
            psnr = float(np.mean([psnr_db(denoise(image), reference, window_hu) for image, reference in pairs]))
        except TypeError as error:
            raise UserError(f"The key baselines: {baseline} can't be run with {settings}: {error}.") from None
        logger.info("%s %s: PSNR %.2f dB", baseline, _readable(settings), psnr)
        tried.append({"settings": settings, "psnr_db": psnr})
    best = max(tried, key=lambda trial: (not np.isnan(trial["psnr_db"]), trial["psnr_db"]))
    logger.info("Best on %d training slices: %s, %.2f dB", len(pairs), _readable(best["settings"]), best["psnr_db"])
    for name in edges(best["settings"], grid):
        logger.warning(
            "%s: the best %s, %s, is at the end of its list %s; a longer list may find a better one.",
            baseline, name, best["settings"][name], list(grid[name]),
        )  # fmt: skip
    record = {
        "baseline": baseline,
        "settings": best["settings"],
        "tuning_psnr_db": best["psnr_db"],
        "window_hu": list(window_hu),
        "tuning_slices": len(pairs),
        "tried": tried,
    }
    with written_whole(settings_json) as partial:
        partial.write_text(json.dumps(record, indent=1) + "\n")


def spread_slices(
    clean: Sequence[str | Path],
    noisy: Sequence[str | Path],
    count: int,
    infos: Sequence[str | Path] | None = None,
    split: Split | None = None,
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Take slices spread evenly over several series put end to end.

    Parameters
    ----------
    clean, noisy : sequences of paths
        Volumes, in the same order; the first are the targets.
    count : int
        How many slices; all of them when there are fewer.
    infos : sequence of paths, optional
        JSON of the series, in the same order, for a split.
    split : mapping, optional
        The config's `split`; slices that it holds out are passed over.

    Returns
    -------
    list of (noisy, clean)
        int16 HU (rows, columns).

    Raises
    ------
    UserError
        If the shapes of a pair differ, or the split leaves a series no slice.
    """
    slices: list[tuple[Volume, Volume, int]] = []
    facts = [None] * len(clean) if infos is None else infos
    for clean_path, noisy_path, info in zip(clean, noisy, facts, strict=True):
        reference, image = open_alike(clean_path, noisy_path)
        allowed = read_slices(training_slices, info, split, len(reference))
        slices += [(image, reference, k) for k in np.flatnonzero(allowed).tolist()]
    count = min(count, len(slices))
    # The middles of `count` equal stretches: neither the first nor the last slice, which show little of the chest.
    chosen: Any = ((np.arange(count) + 0.5) * len(slices) / count).astype(int) if count else []
    return [(image[k], reference[k]) for image, reference, k in (slices[index] for index in chosen)]


def edges(settings: Mapping[str, Any], grid: Mapping[str, Sequence[Any]]) -> list[str]:
    """Name the numeric parameters whose chosen value is the smallest or largest of three or more tried."""
    return [
        name
        for name, values in grid.items()
        if len(values) > 2
        and all(isinstance(value, int | float) for value in values)
        and settings[name] in (min(values), max(values))
    ]


def _readable(settings: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in settings.items())
