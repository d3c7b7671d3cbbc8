"""
The checked config and series sheet, and the functions that the rules ask for their inputs and params. Holds no rule.
"""

import math
import os
import re

from quietct.digests import code_digest
from quietct.methods import all_methods, split_method, trained_methods
from quietct.settings import canonical_json, check_config, digest_of, download_settings, load_yaml
from quietct.sheet import COLLECTIONS, check_split, dataset_of, preview_of, read_sheet, selection_of, series_of

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
    for row in rows:
        if row["source"] == "directory" and not (Path(find_file(row["location"])).exists() or is_there(row)):
            raise UserError(f"{sheet}: the location {row['location']} of series {row['series']} does not exist.")
    return {row["series"]: row for row in rows}


with one_sentence():
    SERIES = load_series()
    PREVIEW = preview_of(list(SERIES.values()), config["preview"]["series"], CONFIG_FILE)

DATASETS = {dataset_of(row): row for row in SERIES.values()}
# A series of a public collection never changes. What lies in its folder is used, whoever put it there and from wherever,
# and no rule may delete it.
TO_FETCH = [name for name, row in DATASETS.items() if not (row["source"] in COLLECTIONS and is_there(row))]
UNUSABLE = config.get("unusable_dicom", "strict")
DOWNLOAD = download_settings(config)

TRAIN_SERIES = series_of(list(SERIES.values()), "train")
TEST_SERIES = series_of(list(SERIES.values()), "test")
ALL_METHODS = all_methods(config)
TRAINED_METHODS = trained_methods(config)
# Pictures of all seeds would be many and look alike; the first seed stands for the others.
SHOWN_METHODS = [method for method in TRAINED_METHODS if method.endswith(f"-seed{config['train']['seeds'][0]}")]


def one_of(names):
    """Wildcard constraint: exactly one of the names of this experiment, so that a misspelt target is refused."""
    return "|".join(re.escape(str(name)) for name in names) or "(?!)"


def get_code(script):
    """Digest of the package files that a script imports; Snakemake by itself does not see an edit there."""
    return code_digest(REPOSITORY.joinpath("scripts", f"{script}.py"))


def get_files(wildcards):
    """The user's own folder or file that a series is read from, if it has one."""
    row = DATASETS.get(wildcards.dataset, {})
    return [find_file(row["location"])] if row.get("source") == "directory" else []


def get_location(wildcards, input):
    """What the source understands by a location."""
    return input[0] if input else DATASETS[wildcards.dataset].get("location")


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


def get_fetch_minutes(wildcards):
    """Time limit of a job: a download may be as slow as 10 Mbit/s, and a series of unknown size has 1 GB."""
    size_mb = DATASETS[wildcards.dataset].get("expected", {}).get("size_mb", 1000)
    mbit_per_s = min(10, get_bandwidth(wildcards)) or 10
    return 30 + math.ceil(size_mb * 8 / mbit_per_s / 60)


def get_dicom(wildcards):
    """The DICOM folder of a series."""
    return f"<resources>/dicom/{dataset_of(SERIES[wildcards.series])}"


def get_cell(column):
    """Params function for a cell that says which images to convert; None where it is empty."""
    return lambda wildcards: None if is_phantom(wildcards) else SERIES[wildcards.series].get(column)


def get_unusable(wildcards):
    """What becomes of unusable files; a phantom has none, so that the key reruns nothing there."""
    return "strict" if is_phantom(wildcards) else UNUSABLE


def is_phantom(wildcards):
    """Whether a series was made as the sheet says, so that all of it is converted."""
    return SERIES[wildcards.series]["source"] == "phantom"


def get_noise_settings(wildcards):
    """The noise entry as canonical JSON, without its model."""
    entry = config["noise"][wildcards.noise]
    return canonical_json({key: value for key, value in entry.items() if key != "model"})


def get_training_settings():
    """What all trainings share, as canonical JSON; seed and threads are given by themselves."""
    return canonical_json({key: value for key, value in config["train"].items() if key not in ("seeds", "threads")})


def get_checkpoint(wildcards):
    """Where a killed training is kept: the name is a digest of everything that its weights depend on."""
    name = digest_of(
        [SERIES[name] for name in (*TRAIN_SERIES, PREVIEW)],
        config["window_hu"],
        config["noise"][wildcards.noise],
        config["patches"],
        config["networks"][wildcards.network],
        config["variants"][wildcards.variant],
        get_training_settings(),
        config["preview"]["slice"],
        [wildcards.network, wildcards.variant, wildcards.seed],
        get_code("train_network"),
    )
    return f"results/{config['run']}/checkpoints/{name}.npz"


def get_model(wildcards):
    """What a method denoises with: the weights of a network, or the tuned settings of a baseline."""
    network, variant, seed = split_method(wildcards.method)
    if network is None:
        return f"<results>/baselines/{wildcards.noise}/{wildcards.method}.json"
    return f"<results>/models/{wildcards.noise}/{network}/{variant}/seed{seed}/weights.npz"


def get_image(wildcards):
    """The volume to be measured: the noisy one, or what a method made of it."""
    if wildcards.method == "noisy":
        return "<results>/noisy/{noise}/{series}.npy"
    return "<results>/denoised/{noise}/{method}/{series}.npy"
