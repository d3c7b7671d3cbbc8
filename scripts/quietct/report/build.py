"""One page about a run: verdict, measures, slices to compare, plots, and what was run."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
import yaml

from quietct.ct.volume import NO_VALUE, open_volume
from quietct.errors import UserError
from quietct.figures.contact_sheet import difference_limit
from quietct.figures.style import method_colour, method_label
from quietct.files import written_whole
from quietct.report.detection import detection_sentence
from quietct.report.facts import machine_facts, series_facts, stage_rows
from quietct.report.page import render_page
from quietct.report.pictures import film_size, load_films, load_plot
from quietct.report.slices import HU_LOW, NO_VALUE_CODE, SliceView, Volumes, embed_slices
from quietct.report.table import make_table, read_summary

logger = logging.getLogger(__name__)

# Bytes. A file under 15 MB passes most mail servers; films take at most a part of it, slices what is left.
MAX_BYTES = 14_500_000
MAX_FILM_BYTES = 2_500_000
PAGE_BYTES = 400_000
EXPECTED_PLOTS = ("contact-sheet", "noise-power", "task-transfer", "nodules", "slice-quality", "differences")


def build_report(
    report: str | Path,
    *,
    record: str | Path,
    summary: str | Path,
    verdict: str | Path | None,
    volumes: Volumes,
    plots: Sequence[str | Path],
    films: Sequence[str | Path],
    sheet: Sequence[Mapping[str, Any]],
    infos: Mapping[str, str | Path],
    benchmarks: str | Path,
    target_label: str = "clean",
) -> None:
    """Write the report of a run.

    Parameters
    ----------
    report : path
        The HTML file to make. It holds all it needs and asks no network for anything.
    record : path
        The run's config.yaml.
    summary : path
        Its summary.tsv.
    verdict : path or None
        Its verdict.json; may be missing.
    volumes : Volumes
        What is compared slice by slice.
    plots : sequence of paths
        PNG files `figures/<noise>/<name>.png` or `figures/<name>.png`; what is expected and not among them is named as
        missing.
    films : sequence of paths
        GIF files `gifs/<noise>/training-<method>.gif`.
    sheet : sequence of mappings
        See `series_facts`.
    infos : mapping of str to path
        JSON of the volumes, by series.
    benchmarks : path
        Folder of Snakemake's benchmark files; may be missing.
    target_label : str
        What the target is called: "clean", or "target" if it is another scan.

    Raises
    ------
    UserError
        If the run record is no YAML mapping.
    """
    facts = read_record(record)
    config = facts["config"]
    rows = read_summary(summary)
    shown_plots = load_plots(plots, volumes.noises, list(config["networks"]), rows)
    shown_films, film_notes = {}, {}
    for noise in volumes.noises:
        gifs = {Path(path).stem.removeprefix("training-"): path for path in films if Path(path).parent.name == noise}
        shown_films[noise], film_notes[noise] = load_films(gifs, MAX_FILM_BYTES // len(volumes.noises))
    used = sum(len(plot.uri) for group in shown_plots.values() for plot in group)
    used += sum(film_size(film) for group in shown_films.values() for film in group)
    preview = config["preview"]
    views, slice_notes = embed_slices(volumes, config.get("split"), preview, MAX_BYTES - PAGE_BYTES - used)
    methods = list(dict.fromkeys([*rows["method"], *volumes.methods]))
    # Panels in the order of the table: the best first.
    shown = sorted(volumes.methods, key=methods.index)
    page = render_page(
        {
            "title": (config.get("report") or {}).get("title") or f"{config['run']}: CT denoising",
            "run": config["run"],
            "noises": list(volumes.noises),
            "methods": shown,
            "labels": {method: method_label(method) for method in methods},
            "n_methods": int(rows.loc[rows["method"] != "noisy", "method"].nunique()),
            "test_series": list(volumes.series),
            "n_slices": int(rows["n_slices"].max()) if len(rows) else 0,
            "verdict": read_verdict(verdict, rows),
            "table": make_table(rows),
            "left_out": facts.get("left_out") or {},
            "plots": shown_plots,
            "films": shown_films,
            "film_notes": film_notes,
            "viewer": viewer_data(views, volumes, config, target_label),
            "views": views,
            "slice_notes": slice_notes,
            "target_label": target_label,
            "series": series_facts(sheet, infos),
            "machine": machine_facts(facts),
            "stages": stage_rows(benchmarks),
            "config_text": yaml.safe_dump(
                config, sort_keys=False, allow_unicode=True, default_flow_style=None, width=110
            ),
        },
        {method: method_colour(method) for method in methods},
    )
    with written_whole(report) as partial:
        partial.write_text(page, encoding="utf-8")
    logger.info("%s: %.2f MB", report, len(page.encode()) / 1e6)


def read_record(path: str | Path) -> dict[str, Any]:
    """Read the run record."""
    record = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    if not isinstance(record, dict) or not isinstance(record.get("config"), dict):
        raise UserError(f"{path} is no run record. Delete it and run again.")
    return record


def read_verdict(path: str | Path | None, summary: pd.DataFrame) -> dict[str, Any]:
    """Read the verdict: `headline`, and `sentences` by noise, with one on detection where there are such nodules."""
    verdict: dict[str, Any] = {}
    if path is not None and Path(path).exists():
        verdict = json.loads(Path(path).read_text(encoding="utf-8"))
    headline, found = verdict.get("headline") or "", verdict.get("sentences") or {}
    sentences = {}
    for noise in summary["noise"].unique():
        # With a single case the headline is one of the sentences; it is told once.
        told = [sentence for sentence in found.get(noise, []) if sentence != headline]
        detection = detection_sentence(summary[summary["noise"] == noise]) if "d_prime" in summary else None
        sentences[noise] = [*told, detection] if detection else told
    return {"headline": headline, "sentences": sentences}


def load_plots(
    paths: Sequence[str | Path], noises: Sequence[str], networks: Sequence[str], summary: pd.DataFrame
) -> dict[str, list[Any]]:
    """Load the plots of each noise, the expected ones first, and under an empty name those of the whole run."""
    by_noise: dict[str, dict[str, Path]] = {noise: {} for noise in ["", *noises]}
    for path in map(Path, paths):
        by_noise[path.parent.name if path.parent.name in noises else ""][path.stem] = path
    plots = {"": [load_plot(path, summary) for path in by_noise[""].values()]}
    for noise in noises:
        expected = [*(f"cost-{network}" for network in networks), *EXPECTED_PLOTS]
        rows = summary[summary["noise"] == noise]
        found = {name: by_noise[noise].get(name, Path(f"{name}.png")) for name in expected} | by_noise[noise]
        plots[noise] = [load_plot(path, rows, noise) for path in found.values()]
    return plots


def viewer_data(
    views: Sequence[SliceView], volumes: Volumes, config: Mapping[str, Any], target_label: str
) -> dict[str, Any]:
    """Give what the script of the slices needs to know, apart from the pictures, as values for JSON."""
    low, high = config["window_hu"]
    limit = _difference_limit(views, volumes)
    return {
        "huLow": HU_LOW,
        "noValue": NO_VALUE_CODE,
        "window": {"centre": f"{(low + high) / 2:g}", "width": f"{high - low:g}"},
        "labels": {"target": target_label, "noisy": "noisy"},
        "differenceLimit": f"{limit:g}",
        "diverging": [matplotlib.colors.to_hex(colour) for colour in matplotlib.colormaps["RdBu_r"](np.arange(256))],
        "slices": [
            {
                "series": view.series,
                "index": view.index,
                "row": view.crop.row,
                "column": view.crop.column,
                "rows": view.crop.rows,
                "columns": view.crop.columns,
            }
            for view in views
        ],
    }


def _difference_limit(views: Sequence[SliceView], volumes: Volumes) -> float:
    """Choose the end of the difference scale, HU, by the first slice at the first noise."""
    if not views:
        return 50.0
    view, noise = views[0], volumes.noises[0]
    images = {
        name: open_volume(path)[view.index]
        for name, path in volumes.images(noise, view.series).items()
        if name in view.pictures[noise]
    }
    target = open_volume(volumes.targets[volumes.series.index(view.series)])[view.index].astype(np.float32)
    differences = {
        name: (image - target)[image != NO_VALUE] for name, image in images.items() if (image != NO_VALUE).any()
    }
    return difference_limit(differences) if differences else 50.0
