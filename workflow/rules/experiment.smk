"""
The checked config and series sheet, the functions that the rules ask for their inputs and params, and the table of costs
at the end of a run. Holds no rule.
"""

import os
from functools import cache

from quietct.canonical import canonical_json, plain_numbers
from quietct.experiment.settings import check_config, download_settings, load_yaml
from quietct.experiment.sheet import (
    COLLECTIONS,
    check_split,
    dataset_of,
    preview_of,
    read_sheet,
    selection_of,
    shown_of,
)
from quietct.experiment.targets import calibrations_of, check_targets, check_tasks, noise_free, series_of, task_of
from quietct.methods import all_methods, missing_baselines, missing_sentence, split_method, trained_methods
from quietct.spread import spread_over
from quietct.workflow.digests import code_digest, folder_digest
from quietct.workflow.patterns import one_of
from quietct.workflow.stages import write_stages

CONFIG_FILE = os.path.relpath(workflow.configfiles[-1]) if workflow.configfiles else "the config"


def is_there(row):
    """Whether the DICOM folder of a row exists."""
    return Path("resources", "dicom", dataset_of(row)).exists()


def load_series():
    """Check the config and read the series sheet that it names."""
    schemas = REPOSITORY.joinpath("workflow", "schemas")
    check_config(config, load_yaml(schemas.joinpath("config.schema.yaml")), CONFIG_FILE)
    sheet = config["series"]
    schema = load_yaml(schemas.joinpath("series.schema.yaml"))
    collection = REPOSITORY.joinpath("resources", "phantom_fda_series.tsv")
    rows = read_sheet(find_file(sheet), schema, collection, sheet)
    check_split(rows, sheet, lambda location: os.path.realpath(find_file(location)))
    check_targets(rows, config, sheet, CONFIG_FILE)
    check_tasks(rows, config, sheet)
    for row in rows:
        if row["source"] == "directory" and not (Path(find_file(row["location"])).exists() or is_there(row)):
            raise UserError(f"{sheet}: the location {row['location']} of series {row['series']} does not exist.")
        if "nodules" in row and not Path(find_file(row["nodules"])).exists():
            raise UserError(f"{sheet}: the table of nodules {row['nodules']} of series {row['series']} does not exist.")
    return {row["series"]: row for row in rows}


with one_sentence():
    SERIES = load_series()
    PREVIEW = preview_of(list(SERIES.values()), config["preview"]["series"], CONFIG_FILE)
    CALIBRATIONS = calibrations_of(config, list(SERIES.values()), CONFIG_FILE)

config.update(plain_numbers(config))  # 3.0 is 3, and nothing runs again for it
# The record of the run keeps the whole config, but for what changes no result, and says what was left out of it.
RECORDED_CONFIG = canonical_json({key: value for key, value in config.items() if key != "keep_intermediates"})
LEFT_OUT = {name: missing_sentence(name) for name in missing_baselines(config["baselines"])}
config["baselines"] = {name: grid for name, grid in config["baselines"].items() if name not in LEFT_OUT}
if workflow.is_main_process:
    for sentence in LEFT_OUT.values():
        logger.warning(sentence)

DATASETS = {dataset_of(row): row for row in SERIES.values()}
# A series of a public collection never changes. What lies in its folder is used, whoever put it there and from wherever,
# and no rule may delete it.
TO_FETCH = [name for name, row in DATASETS.items() if not (row["source"] in COLLECTIONS and is_there(row))]
UNUSABLE = config.get("unusable_dicom", "strict")
DOWNLOAD = download_settings(config)

# By name: the order of the rows changes no number.
TRAIN_SERIES = sorted(series_of(list(SERIES.values()), "train"))
# Few slices are needed to tune a baseline: of many series, a few are kept for it.
TUNING_SERIES = spread_over(TRAIN_SERIES, 20)
TEST_SERIES = sorted(series_of(list(SERIES.values()), "test"))
APPLY_SERIES = series_of(list(SERIES.values()), "apply")
MEASURED_SERIES = [name for name, row in SERIES.items() if row["role"] != "apply"]  # of which there is a volume
MATCHED_SERIES = {name: row["target"] for name, row in SERIES.items() if "target" in row}
ADDED_NOISES = [name for name, noise in config["noise"].items() if noise["model"] != "measured"]
# Of the keys of train: seeds and threads are given by themselves, and how often a checkpoint is written changes nothing.
WITHOUT_INFLUENCE = ("seeds", "threads", "checkpoint_seconds")
SPLIT = canonical_json(config.get("split"))
ALL_METHODS = all_methods(config)
# Snakemake compares inputs, and params too, as sets without order and names. So a rule that draws in the order of the
# config has that order among its params, and settings that could trade their values are one JSON text.
TRAINED_METHODS = trained_methods(config)
# Pictures of all seeds would be many and look alike; the first seed stands for the others.
SHOWN_METHODS = [method for method in TRAINED_METHODS if method.endswith(f"-seed{config['train']['seeds'][0]}")]

# Made of every noise, and shown in the report.
PICTURES = ["contact-sheet", "noise-power", "task-transfer", "nodules", "slice-quality", "differences"]
DRAWN_METHODS = [*config["baselines"], *SHOWN_METHODS]  # side by side in a picture
# What the report compares slice by slice; the preview's series comes first.
REPORT_METHODS = [*SHOWN_METHODS, *config["baselines"]]
SHOWN_SERIES = shown_of(TEST_SERIES, PREVIEW, config["preview"].get("most_series"))
REPORT_SERIES = [PREVIEW, *(series for series in SHOWN_SERIES if series != PREVIEW)]
TARGET_SERIES = [name for row in SERIES.values() for name in row.get("target", [])]
CONVERTED_SERIES = list(dict.fromkeys([*TRAIN_SERIES, *TEST_SERIES, *TARGET_SERIES]))


# Detection tasks by their names, which are like those of series, and the series that they belong to.
TASKS = {task_of(name): name for name in TEST_SERIES if "detection" in config and SERIES[name]["source"] == "phantom"}


# Snakemake reads the rules again for every job. Lists of thousands of files are given as functions, so that only the jobs
# that need them make them.
def get_train_series(wildcards):
    """The series that are trained on."""
    return TRAIN_SERIES


def get_test_series(wildcards):
    """The series that are measured."""
    return TEST_SERIES


def get_converted_series(wildcards):
    """The series that the report tells of."""
    return CONVERTED_SERIES


def get_noise(wildcards):
    """The noise of a job, for lists."""
    return wildcards.noise


# Then nothing but match_target and calibrate_noise reads the volumes of scans.
ALL_MATCHED = set(MATCHED_SERIES) >= {*TRAIN_SERIES, *TEST_SERIES}


def intermediate(path, of_pair=False):
    """An output that can be made again: kept, or deleted as soon as no job of the run needs it any more.

    Where such a file is made again, Snakemake also runs every job that reads it. So what trainings read, and what that
    is cut from, can be kept by itself.
    """
    kept = config.get("keep_intermediates", True)
    return path if kept is True or (kept == "pairs" and of_pair) else temp(path)


def get_code(script):
    """Params function for a digest of a script's code; worked out for the jobs that are asked for, each script once."""
    path = REPOSITORY.joinpath("scripts", f"{script}.py")
    digest = cache(lambda: f"{path.name} {code_digest(path)}")  # the name is for who reads why a job runs again
    return lambda wildcards: digest()


def get_files(wildcards):
    """The user's own files that a series is read from: of a folder each one, for its date tells no edit inside."""
    row = DATASETS.get(wildcards.dataset, {})
    if row.get("source") != "directory":
        return []
    path = Path(find_file(row["location"]))
    folder = path.parent if path.name.upper() == "DICOMDIR" else path
    return sorted(str(file) for file in folder.rglob("*") if file.is_file()) or [str(path)]


def get_location(wildcards, output):
    """What the source understands by a location. Not compared with that of the last run: the files in it are."""
    row = DATASETS[wildcards.dataset]
    return find_file(row["location"]) if row["source"] == "directory" else row.get("location")


def get_source(wildcards):
    """The source of a series."""
    return DATASETS[wildcards.dataset]["source"]


def get_selection(wildcards):
    """What else the source has to know, as canonical JSON."""
    return canonical_json(selection_of(DATASETS[wildcards.dataset], UNUSABLE, DOWNLOAD))


def get_downloads(wildcards):
    """Number of downloads that a job makes."""
    return int(get_source(wildcards) in COLLECTIONS)


def get_bandwidth(wildcards):
    """Mbit/s that a job may take from the network; Snakemake lowers it to the limit of all jobs."""
    return DOWNLOAD["bandwidth_mbit"] * get_downloads(wildcards)


def get_dicom(wildcards):
    """The DICOM folder of a series."""
    return f"<resources>/dicom/{dataset_of(SERIES[wildcards.series])}"


def get_images(wildcards):
    """Which images of a series are used, as canonical JSON; a phantom was made as the sheet says, so that all are."""
    row = SERIES[wildcards.series]
    if row["source"] == "phantom":
        row, unusable = {}, "strict"
    else:
        unusable = UNUSABLE
    cells = {key: row.get(key) for key in ("series_instance_uid", "acquisition_number", "n_slices")}
    return canonical_json({**cells, "unusable": unusable})


def scan_of(series):
    """A scan, or the slices of it that have a partner in its target, without the file's ending."""
    return f"<results>/{'matched' if series in MATCHED_SERIES else 'volumes'}/{series}"


def get_scan(wildcards):
    """The volume that noise is put on."""
    return f"{scan_of(wildcards.series)}.npy"


def get_scan_info(wildcards):
    """The JSON of that volume, and of all that is made of it."""
    return f"{scan_of(wildcards.series)}.json"


def target_of(series):
    """The volume that a series is trained towards and compared with: of the shape of its scan."""
    return f"<results>/{'targets' if series in MATCHED_SERIES else 'volumes'}/{series}.npy"


def get_target(wildcards):
    """The target of one series."""
    return target_of(wildcards.series)


def noisy_of(series, noise):
    """The volume that is denoised; a measured scan is noisy by itself."""
    return f"<results>/noisy/{noise}/{series}.npy" if noise in ADDED_NOISES else f"{scan_of(series)}.npy"


def get_noisy(wildcards):
    """The noisy volume of one series."""
    return noisy_of(wildcards.series, wildcards.noise)


def get_target_names(wildcards):
    """The series whose mean is the target of a series."""
    return SERIES[wildcards.series]["target"]


def get_target_label(series):
    """What pictures call the target: other scans, unless they are free of noise, are not clean."""
    return "clean" if all(noise_free(SERIES[name]) for name in SERIES[series].get("target", [])) else "target"


def has_exact_target(series):
    """Whether the target is the truth itself, so that what an image differs from it is the image's own."""
    return all(noise_free(SERIES[name]) for name in SERIES[series].get("target", [series]))


def get_layout(wildcards):
    """The arrangement of nodules of a synthetic chest; None for another object."""
    row = SERIES[TASKS.get(wildcards.series, wildcards.series)]
    return row.get("nodule_layout", 1) if row["source"] == "phantom" else None


def get_task(wildcards):
    """What is scanned for a detection task, as canonical JSON."""
    repeat = SERIES[TASKS[wildcards.series]].get("repeat", 1)
    return canonical_json({**config["detection"], "layout": get_layout(wildcards), "repeat": repeat})


def get_info_of_task(wildcards):
    """The JSON of the series that a detection task belongs to."""
    return f"<results>/volumes/{TASKS[wildcards.series]}.json"


def get_no_task(wildcards):
    """Why a method has no detection task on a series; None where it has."""
    if "detection" not in config:
        return "The config has no key detection."
    if task_of(wildcards.series) not in TASKS:
        return "Only the synthetic chest can be scanned once more with nodules for a detection task."
    if wildcards.noise not in ADDED_NOISES:
        return "The noise is measured, and no scan of the detection task has it."
    return None


def get_task_image(wildcards):
    """The detection task of a series as a method returned it, if there is one."""
    if get_no_task(wildcards):
        return []
    task = task_of(wildcards.series)
    if wildcards.method == "noisy":
        return noisy_of(task, wildcards.noise)
    return f"<results>/denoised/{wildcards.noise}/{wildcards.method}/{task}.npy"


def get_task_info(wildcards):
    """The JSON of that detection task."""
    return [] if get_no_task(wildcards) else f"<results>/volumes/{task_of(wildcards.series)}.json"


def get_known_nodules(wildcards):
    """The user's table of the nodules of a phantom, if there is one."""
    path = SERIES[wildcards.series].get("nodules")
    return [find_file(path)] if path else []


def get_model_of_noise(wildcards):
    """The model of a noise."""
    return config["noise"][wildcards.noise]["model"]


def get_noise_threads(wildcards):
    """Cores of a job that adds noise: projections are worth two."""
    return 2 if get_model_of_noise(wildcards) == "low_dose" else 1


def get_noise_settings(wildcards):
    """The noise entry as canonical JSON, without its model."""
    entry = config["noise"][wildcards.noise]
    return canonical_json({key: value for key, value in entry.items() if key != "model"})


def get_noise_window(wildcards):
    """The window, for noise whose strength depends on it."""
    return config["window_hu"] if config["noise"][wildcards.noise].get("scale") == "grey" else None


def get_noise_fit(wildcards):
    """The calibration that a noise is made with, if it has one."""
    name = config["noise"][wildcards.noise].get("calibration")
    return [f"<results>/calibration/{name}.json"] if name else []


def describe_series(row):
    """What the report says of a series; neither its location nor its UID, which could tell who was scanned."""
    in_table = "Phantom_FDA" if row.get("expected") else "collection"
    return {
        "series": row["series"],
        "role": row["role"],
        "target": row.get("target", []),
        "origin": in_table if row["source"] in COLLECTIONS else row["source"],
    }


def get_described_sheet(wildcards):
    """What the report says of all series, as canonical JSON."""
    return canonical_json([describe_series(row) for row in SERIES.values()])


def get_repeats(wildcards):
    """The series that a calibration is made from."""
    return CALIBRATIONS[wildcards.calibration]


def get_calibration(wildcards):
    """What a calibration is told of the scanner, as canonical JSON."""
    entry = config["calibration"][wildcards.calibration]
    return canonical_json({key: value for key, value in entry.items() if key != "series"})


def get_training_settings(wildcards):
    """What a training is told beside its data, network and rules, as canonical JSON; the rate is the variant's own."""
    others = {key: value for key, value in config["train"].items() if key not in WITHOUT_INFLUENCE}
    rate = config["variants"][wildcards.variant].get("learning_rate", config["train"]["learning_rate"])
    return canonical_json({**others, "learning_rate": rate})


def get_rules(wildcards):
    """The variant's changes to back-propagation, as canonical JSON."""
    entry = config["variants"][wildcards.variant]
    return canonical_json({key: value for key, value in entry.items() if key != "learning_rate"})


def get_checkpoint(wildcards, output):
    """Where a killed training is kept. Not compared with that of the last run, because it asks for the output."""
    network, variant, seed = wildcards.network, wildcards.variant, wildcards.seed
    return f"results/{config['run']}/checkpoints/{wildcards.noise}/{network}-{variant}-seed{seed}.npz"


def get_checkpoint_seconds(wildcards, output):
    """How often; not compared either, because the weights do not depend on it."""
    return config["train"]["checkpoint_seconds"]


def get_model(wildcards):
    """What a method denoises with: the weights of a network, or the tuned settings of a baseline."""
    network, variant, seed = split_method(wildcards.method)
    if network is None:
        return f"<results>/baselines/{wildcards.noise}/{wildcards.method}.json"
    return f"<results>/models/{wildcards.noise}/{network}/{variant}/seed{seed}/weights.npz"


def image_of(series, noise, method):
    """The volume to be measured: the noisy one, or what a method made of it."""
    return noisy_of(series, noise) if method == "noisy" else f"<results>/denoised/{noise}/{method}/{series}.npy"


def get_image(wildcards):
    """The volume of one series by one method."""
    return image_of(wildcards.series, wildcards.noise, wildcards.method)


def write_costs():
    """Write the table of time and memory of the run's stages."""
    write_stages(f"results/{config['run']}/benchmarks", f"results/{config['run']}/stages.tsv")
