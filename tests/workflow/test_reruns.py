"""What runs again after each change of the config or the series sheet: these jobs and no others.

Each row says by hand what a change ought to make anew, in patterns of jobs, and the plan must have exactly these.
"""

from fnmatch import fnmatchcase

import pytest
import yaml
from plans import (
    FILTERS,
    PAGE,
    PHYSICS_PICTURES,
    RECORD,
    TABLES,
    TRAINED,
    check,
    check_told,
    denoised,
    make_plan,
    measured,
    overviews,
    rich_config,
    shown,
    trained,
)

from quietct.experiment.settings import load_yaml


def put(config, path, value):
    """Set a key; None removes it."""
    *above, last = path.split(".")
    for part in above:
        config = config.setdefault(part, {})
    if value is None:
        del config[last]
    else:
        config[last] = value


def turned(value):
    return {key: turned(part) for key, part in reversed(value.items())} if isinstance(value, dict) else value


def floats(value):
    if isinstance(value, dict):
        return {key: floats(part) for key, part in value.items()}
    if isinstance(value, list):
        return [floats(part) for part in value]
    return float(value) if type(value) is int else value


LAYERS = [{"filters": 3, "kernel": 3}, {"filters": 1, "kernel": 3}]
WIDE = {"layers": LAYERS, "residual": True, "initialiser": {"kind": "he"}}
HARD = {"model": "gaussian", "fraction": 0.3, "scale": "hu", "seed": 9}
SLOW = {"learning_rate": 0.001}
GREY = ["* grey/*", "export_weights grey-*", *TABLES, *PAGE]
LOW = ["* low/*", "export_weights low-*", *TABLES, *PAGE]
DILATED = [*trained(variant="dilated*"), *shown(variant="dilated*")]
CALIBRATED = ["calibrate_noise *", "plot_calibration *", *LOW]
# All but what is only read, matched and made noisy.
AFTER_NOISE = [f"{rule} *" for rule in ("extract_patches", "tune_baseline")]
ALL_MEASURED = [*TRAINED, *FILTERS, *measured()]
TASK = [
    "make_detection_task *",
    "add_noise */test_1_detection",
    "denoise_series */*/test_1_detection",
    "measure_physics */*/test_1",
    *PHYSICS_PICTURES,
    "summarize_quality summary",
    "export_weights *",
    *PAGE,
]
# The order of variants, filters or noises is that of the pictures and of the pairs in the comparison.
ORDER = ["plot_cost_curves *", "plot_slice_quality *", *overviews(), "compare_methods *", "plot_differences *", *PAGE]

# Changed keys with their values, and the jobs that run again besides the record of the run.
CONFIG = {
    "`run`": [
        ({"run": "other"}, ["[!f]*"]),  # all but fetch_series: the DICOM is there for all runs
    ],
    "`report`, `download`, `train.threads`, `train.checkpoint_seconds`, a learning rate said twice": [
        ({"report": {"title": "A title"}}, PAGE),
        ({"download.retries": 9}, PAGE),
        ({"download.timeout_s": 9}, PAGE),
        ({"download.bandwidth_mbit": 9}, PAGE),
        ({"download.idc_endpoint": "http://127.0.0.1:9"}, PAGE),
        ({"variants.sgd.learning_rate": 0.01}, PAGE),  # that of train, only said again
        ({"train.threads": 2}, PAGE),
        ({"train.checkpoint_seconds": 60}, PAGE),
    ],
    "`window_hu`": [
        ({"window_hu": [-1000, 400]}, ["match_target *", "add_noise grey/*", "add_noise low/train_2",
            "extract_patches grey/*", "extract_patches low/train_2", "tune_baseline *", *TRAINED, *FILTERS,
            "measure_quality */noisy/*", "measure_physics grey/noisy/*"]),
    ],
    "`unusable_dicom`": [
        ({"unusable_dicom": "skip"}, ["fetch_series test_2", "fetch_series mine", "convert_series test_2",
            "add_noise */test_2", *denoised(series="test_2"), "measure_* */*/test_2", "render_scroll_gif *-test_2",
            "denoise_dicom *", *PHYSICS_PICTURES]),
    ],
    "`deidentify_dicom`": [
        ({"deidentify_dicom": True}, ["denoise_dicom *", *PAGE]),
    ],
    "a `noise` added or changed": [
        ({"noise.grey.fraction": 0.2}, GREY),
        ({"noise.grey.seed": 2}, GREY),
        ({"noise.grey.scale": "hu"}, GREY),
        ({"noise.low.dose": 0.5}, LOW),
        ({"noise.hard": HARD}, ["* hard/*", "export_weights hard-*", *TABLES, *PAGE]),
    ],
    "a noise, network, variant, seed or filter removed": [
        ({"noise.low": None}, [*TABLES, *PAGE]),
        ({"variants.dilated_gradient_noise": None},
            [*TABLES, *PAGE, *overviews(), "plot_slice_quality *", "plot_cost_curves *"]),
        ({"train.seeds": [1]}, [*TABLES, *PAGE, "plot_slice_quality *", "plot_cost_curves *"]),
        ({"baselines.median": None}, [*TABLES, *PAGE, *overviews(), "plot_slice_quality *"]),
    ],
    "a `calibration`": [
        ({"calibration.scanner.views": 45}, CALIBRATED),
        ({"calibration.scanner.bowtie_mm": 10, "calibration.scanner.electronic_noise": 300}, CALIBRATED),
    ],
    "`split`": [
        ({"split": {"every": 2}}, [*AFTER_NOISE, *ALL_MEASURED]),
    ],
    "`patches`": [
        ({"patches.size": 24}, ["extract_patches *", *TRAINED]),
        ({"patches.seed": 2}, ["extract_patches *", *TRAINED]),
        ({"patches.per_slice": 9}, ["extract_patches *", *TRAINED]),
        ({"patches.min_body_fraction": 0.2}, ["extract_patches *", *TRAINED]),
    ],
    "the first of `train.seeds`": [
        ({"train.seeds": [2, 1]}, [*shown(seed="2"), *ORDER, "denoise_series */*-seed2/val_1"]),
    ],
    "one of `networks`, `variants` or `train.seeds` added or changed": [
        ({"networks.small.layers": LAYERS}, TRAINED),
        ({"networks.small.residual": False}, TRAINED),
        ({"networks.small.initialiser.gain": 1}, TRAINED),
        ({"networks.wide": WIDE}, [*trained(network="wide"), *shown(network="wide")]),
        ({"variants.dilated_gradient_noise.learning_rate": 0.002}, DILATED),
        ({"variants.dilated_gradient_noise.dilation.p": 0.1}, DILATED),
        ({"variants.dilated_gradient_noise.gradient_noise.ratio": 0.1}, DILATED),
        ({"variants.sgd_slow": SLOW}, [*trained(variant="sgd_slow"), *shown(variant="sgd_slow")]),
        ({"train.seeds": [1, 2, 3]}, trained(seed="3")),
    ],
    "`train.learning_rate`": [
        ({"train.learning_rate": 0.02}, [*trained(variant="sgd"), *shown(variant="sgd")]),  # the other has its own
    ],
    "any other key of `train`": [
        ({"train.epochs": 3}, TRAINED),
        ({"train.batch_size": 4}, TRAINED),
        ({"train.shuffle": False}, TRAINED),
        ({"train.augment": False}, TRAINED),
        ({"train.init": "independent"}, TRAINED),
        ({"train.normalisation.shift_hu": -500}, TRAINED),
        ({"train.loss": {"kind": "squared_error", "scale": 0.25, "gradient_scale": 1}}, TRAINED),
        ({"train.optimiser": {"kind": "sgd"}}, TRAINED),
        ({"train.schedule": {"kind": "cosine", "final_fraction": 0.1}}, TRAINED),
        ({"train.snapshots": 3}, TRAINED),  # frames of a training can be had of a training only
    ],
    "one of `baselines` added or changed, or `tuning_slices`": [
        ({"baselines.gaussian.sigma_px": [0.5]},
            ["tune_baseline */gaussian", *denoised(method="gaussian"), *overviews()]),
        ({"baselines.bilateral": {"sigma_px": [1], "range_factor": [1]}},
            ["tune_baseline */bilateral", *denoised(method="bilateral"), *overviews()]),
        ({"tuning_slices": 2}, ["tune_baseline *", *FILTERS]),
    ],
    "`detection` removed": [
        ({"detection": None}, ["measure_physics *", "summarize_quality *", "export_weights *", *PAGE,
            *PHYSICS_PICTURES]),
    ],
    "`detection`": [
        ({"detection.density_hu": -700}, TASK),
        ({"detection.sites": 11}, TASK),
    ],
    "`preview.series`, `preview.slice`": [
        ({"preview.series": "test_1"}, [*TRAINED, "plot_contact_sheet *"]),  # it is watched in every epoch
        ({"preview.slice": 0}, [*TRAINED, "plot_contact_sheet *"]),
    ],
    "`preview.zoom`": [
        ({"preview.zoom.size": 32}, ["plot_contact_sheet *", *PAGE]),
        ({"preview.zoom.row": 150, "preview.zoom.column": 200}, ["plot_contact_sheet *", *PAGE]),
    ],
    "`gifs`": [
        ({"gifs.frame_ms": 200}, ["render_*", *PAGE]),
        ({"gifs.frame_ms": 64, "gifs.size_px": 100}, ["render_*", *PAGE]),
    ],
}  # fmt: skip


def planned(folder, config, name):
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    return make_plan(folder, "--configfile", f"{name}.yaml")


ROWS = [(row, changes, patterns) for row, cases in CONFIG.items() for changes, patterns in cases]


@pytest.mark.parametrize(("row", "changes", "patterns"), ROWS, ids=[", ".join(changes) for _, changes, _ in ROWS])
def test_a_change_of_the_config_makes_anew_what_depends_on_it_and_nothing_else(rich, row, changes, patterns):
    config = rich_config()
    for path, value in changes.items():
        put(config, path, value)
    plan = planned(rich, config, "changed")
    check(plan, [*RECORD, *patterns])
    check_told(plan, row)


@pytest.mark.parametrize("rewrite", [turned, floats])
def test_another_way_to_write_the_same_config_makes_nothing_anew(rich, rewrite):
    config = rich_config()
    again = rewrite(config)
    for key in ("noise", "variants", "baselines"):  # their order is that of the pictures
        again[key] = {name: again[key][name] for name in config[key]}
    plan = planned(rich, again, "rewritten")
    check(plan, [])
    check_told(plan, "the order of other keys, 3.0 for 3, `keep_intermediates`")


@pytest.mark.parametrize(
    ("key", "patterns"),
    [
        ("variants", ORDER),
        ("baselines", [*set(ORDER) - {"plot_cost_curves *"}]),
        ("noise", ["compare_methods *", "plot_differences *", *PAGE]),
    ],
)
def test_the_order_of_names_is_that_of_the_pictures_and_of_them_alone(rich, key, patterns):
    config = rich_config()
    config[key] = dict(reversed(config[key].items()))
    plan = planned(rich, config, "ordered")
    check(plan, patterns)
    check_told(plan, "the order of noises, networks, variants or filters")


def test_the_plan_is_the_dry_run(rich, snakemake):
    config = rich_config()
    put(config, "patches.size", 24)
    plan = planned(rich, config, "dry")
    dry = snakemake(rich, "-n", "--configfile", "dry.yaml")
    rules = [job.split()[0] for job in plan.again]
    assert dry.jobs == {rule: rules.count(rule) for rule in rules} | {"all": 1}


def test_every_key_of_the_config_is_in_the_table(repository):
    keys = set(load_yaml(repository / "workflow/schemas/config.schema.yaml")["properties"])
    changed = {path.split(".")[0] for _, changes, _ in ROWS for path in changes}
    assert changed == keys - {"series", "clip_to_window", "keep_intermediates"}  # which have tests of their own


def test_clipping_makes_everything_anew_but_the_dicom(rich):
    """It is refused beside low dose, which leaves the run for that."""
    config = rich_config()
    del config["noise"]["low"], config["calibration"]
    config["clip_to_window"] = True
    rows = [row for row in (rich / "rich.tsv").read_text().splitlines(keepends=True) if "water" not in row]
    (rich / "clipped.tsv").write_text("".join(rows))
    config["series"] = "clipped.tsv"
    plan = planned(rich, config, "clipped")
    check_told(plan, "`clip_to_window`")
    kept = {job for job in plan.jobs if fnmatchcase(job, "fetch_series *") or fnmatchcase(job, "locate_nodules *")}
    assert plan.again == plan.jobs - kept
