"""
How much memory and time the rules ask for, told from config and sheet; a job that is tried again gets more of both.
Holds no rule.
"""

import math

from quietct.workflow.resources import (
    COSTS,
    denoising_seconds,
    held_out_share,
    memory_mb,
    minutes,
    noise_seconds,
    slices_of,
    training_seconds,
    tuning_seconds,
)

SLICES = {name: slices_of(row) for name, row in SERIES.items()}
SLICES |= {task: 2 * config["detection"]["slices"] for task in TASKS}
# Of the tables of quality: one for each slice by each method.
TESTED_SLICES = held_out_share(config.get("split")) * sum(SLICES[name] for name in TEST_SERIES)
METRIC_ROWS = len(config["noise"]) * len(ALL_METHODS) * TESTED_SLICES
TRAINING_SLICES = sum(SLICES[name] for name in TRAIN_SERIES)


def get_memory(rule, count=0):
    """Resources function: MB for a job of a rule that has `count` of something."""

    def memory(wildcards, threads, attempt):
        return memory_mb(rule, attempt, threads, count)

    return memory


def get_minutes(rule, count=0):
    """Resources function: time limit of a job of a rule that has `count` of something; None for slices of its series."""
    cost = COSTS[rule]

    def limit(wildcards, attempt):
        number = SLICES[wildcards.series] if count is None else count
        return minutes(cost.seconds + cost.each * number, attempt)

    return limit


def get_fetch_minutes(wildcards, attempt):
    """Time limit of a download, which may be as slow as 10 Mbit/s; a series of unknown size has 1 GB."""
    row = DATASETS[wildcards.dataset]
    if row["source"] not in COLLECTIONS:
        return minutes(COSTS["fetch_series"].seconds + COSTS["fetch_series"].each * slices_of(row), attempt)
    size_mb = row.get("expected", {}).get("size_mb", 1000)
    return (30 + math.ceil(size_mb * 8 / min(10, DOWNLOAD["bandwidth_mbit"]) / 60)) * attempt


def get_matching_minutes(wildcards, attempt):
    """Time limit of a match: every slice with every target."""
    cost, pairs = COSTS["match_target"], SLICES[wildcards.series] * len(SERIES[wildcards.series]["target"])
    return minutes(cost.seconds + cost.each * pairs, attempt)


def get_noise_minutes(wildcards, threads, attempt):
    """Time limit of making a series noisy."""
    noise = config["noise"][wildcards.noise]
    fit = config.get("calibration", {}).get(noise.get("calibration"), {})
    views = noise.get("views", fit.get("views", 360))
    each = noise_seconds(noise, views, threads)
    return minutes(COSTS["add_noise"].seconds + each * SLICES[wildcards.series], attempt)


def get_training_minutes(wildcards, threads, attempt):
    """Time limit of a training."""
    network = config["networks"][wildcards.network]
    seconds = training_seconds(network, config["train"], config["patches"], TRAINING_SLICES, threads)
    return minutes(COSTS["train_network"].seconds + seconds, attempt)


def get_tuning_minutes(wildcards, attempt):
    """Time limit of tuning a baseline."""
    grid = config["baselines"][wildcards.baseline]
    seconds = tuning_seconds(wildcards.baseline, grid, config["tuning_slices"])
    return minutes(COSTS["tune_baseline"].seconds + seconds, attempt)


def get_denoising_minutes(wildcards, threads, attempt):
    """Time limit of denoising a series, to a volume or to DICOM files."""
    network = split_method(wildcards.method)[0]
    each = denoising_seconds(config["networks"].get(network), wildcards.method, threads)
    cost = COSTS["denoise_dicom" if wildcards.series in APPLY_SERIES else "denoise_series"]
    return minutes(cost.seconds + (cost.each + each) * SLICES[wildcards.series], attempt)
