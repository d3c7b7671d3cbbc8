"""How much memory and time a job is to ask for, told from config and series sheet before any of its files exists.

docs/scale.md has the measurements behind the constants, and how to repeat them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

# Of a series of which the sheet does not tell: more than most scans of a chest have.
UNKNOWN_SLICES = 600
PHANTOM_SLICES = 24  # the default of the source phantom
SLICE_PIXELS = 512 * 512

# Nodes of a cluster are slower than the machine of the measurements, busy, and read over a network.
SLOWER = 4
LEAST_MINUTES = 10
# Partitions have a limit, and Slurm refuses what asks for more. A training goes on from its checkpoint.
MOST_MINUTES = 7 * 24 * 60

# One core. A training takes a patch forward and backward, which is three times the work of denoising it.
SECONDS_PER_MULTIPLICATION = 1.2e-11  # a weight and a pixel
SECONDS_PER_VALUE = 2e-9  # a filter and a pixel: what is not multiplied is still moved
TRAINED_TO_DENOISED = 3
SECONDS_PER_STEP = 3e-4

# Seconds a slice of 512 x 512 pixels.
BASELINE_SECONDS = {"bilateral": 0.4, "nl_means": 0.5, "wavelet": 0.25, "bm3d": 60.0}
BASELINE_SECONDS_OF_OTHERS = 0.1
LOW_DOSE_SECONDS_PER_VIEW = 0.003


class Cost(NamedTuple):
    """What a job of a rule takes.

    Attributes
    ----------
    mb : int
        Memory at the first attempt.
    seconds : float
        To start and to end.
    each : float
        Seconds for each of what there are many of: slices of the series, or rows of tables.
    mb_each : float
        Memory for each of them. Images are read slice by slice, so that only tables need more for more slices.
    """

    mb: int
    seconds: float
    each: float = 0.0
    mb_each: float = 0.0


# Memory: twice the measured peak or more, and no less than 1,000 MB: in a cluster job Snakemake itself takes a quarter.
COSTS: dict[str, Cost] = {
    "fetch_series": Cost(1000, 5, 1.5),
    "convert_series": Cost(1000, 5, 0.15),
    "calibrate_noise": Cost(2000, 30, 3.0),
    "match_target": Cost(1000, 5, 0.3),
    "add_noise": Cost(1500, 5, 0.05),
    "extract_patches": Cost(1000, 5, 0.1),
    "train_network": Cost(1000, 30),
    "tune_baseline": Cost(1000, 5),
    "denoise_series": Cost(1000, 5),
    "denoise_dicom": Cost(1000, 10, 0.5),
    "make_detection_task": Cost(1500, 10, 5.0),
    "locate_nodules": Cost(1000, 5),
    "measure_quality": Cost(1000, 5, 0.3),
    "measure_physics": Cost(1000, 10, 0.5),
    "summarize_quality": Cost(1000, 10, 1e-4, 1e-3),
    "compare_methods": Cost(1000, 30, 3e-4, 1.8e-3),
    "picture": Cost(1500, 60),
    "picture_of_slices": Cost(1500, 60, 1e-4, 1.5e-3),
    "film": Cost(1500, 60, 0.0),
    "build_report": Cost(2000, 30, 2.0),
    "record_run": Cost(1000, 10),
    "export_weights": Cost(1000, 5),
}


def memory_mb(rule: str, attempt: int, threads: int = 1, count: float = 0) -> int:
    """Give the memory of a job with `count` of something, MB; more for every attempt and for every further worker."""
    cost = COSTS[rule]
    return round((cost.mb + cost.mb_each * count) * attempt) + 500 * (threads - 1)


def minutes(seconds: float, attempt: int) -> int:
    """Give the time limit of a job that takes so many seconds where it was measured; longer for every attempt."""
    return min(MOST_MINUTES, max(LEAST_MINUTES, math.ceil(SLOWER * seconds / 60)) * attempt)


def slices_of(row: Mapping[str, Any]) -> int:
    """Count the slices of a series, as its row of the sheet tells; no fewer than there are."""
    if "n_slices" in row:
        return int(row["n_slices"])
    if row["source"] == "phantom":
        return PHANTOM_SLICES
    return int(row.get("expected", {}).get("n_slices", UNKNOWN_SLICES))


def held_out_share(split: Mapping[str, Any] | None) -> float:
    """Share of the slices that the config's `split` holds out."""
    return split.get("width", 1) / split["every"] if split else 1.0


def patches_of_slice(settings: Mapping[str, Any]) -> tuple[int, int]:
    """Count the patches of a slice, and the pixels of one, at most, by the config's `patches`."""
    if settings["layout"] == "quadrants":
        return 4, SLICE_PIXELS // 4
    size = int(settings["size"])
    if settings["layout"] == "random":
        return int(settings["per_slice"]), size * size
    side = math.isqrt(SLICE_PIXELS)
    return (math.ceil(max(side - size, 0) / int(settings["stride"])) + 1) ** 2, size * size


def seconds_per_pixel(network: Mapping[str, Any]) -> float:
    """Time that one core takes for a pixel to go forward through a network, an entry of the config's `networks`."""
    channels, seconds = 1, 0.0
    for layer in network["layers"]:
        filters = int(layer["filters"])
        weights = channels * filters * int(layer["kernel"]) ** 2
        seconds += SECONDS_PER_MULTIPLICATION * weights + SECONDS_PER_VALUE * filters
        channels = filters
    return seconds


def training_seconds(
    network: Mapping[str, Any], training: Mapping[str, Any], settings: Mapping[str, Any], slices: int, threads: int
) -> float:
    """Estimate how long a training takes: its epochs, and the preview slice after each.

    Parameters
    ----------
    network, training, settings : mapping
        An entry of the config's `networks`, its `train` and its `patches`.
    slices : int
        Of all training series together.
    threads : int
        Workers; they share out a batch.
    """
    count, pixels = patches_of_slice(settings)
    patches, batch = count * slices, int(training["batch_size"])
    step = TRAINED_TO_DENOISED * seconds_per_pixel(network) * pixels * batch / min(threads, batch) + SECONDS_PER_STEP
    preview = seconds_per_pixel(network) * SLICE_PIXELS
    return int(training["epochs"]) * (step * math.ceil(patches / batch) + preview)


def denoising_seconds(network: Mapping[str, Any] | None, baseline: str, threads: int = 1) -> float:
    """Estimate how long a slice takes with a network, or if that is None with a baseline."""
    if network is None:
        return BASELINE_SECONDS.get(baseline, BASELINE_SECONDS_OF_OTHERS)
    return seconds_per_pixel(network) * SLICE_PIXELS / threads


def tuning_seconds(baseline: str, grid: Mapping[str, Any], slices: int) -> float:
    """Estimate how long all combinations of a baseline's grid take on so many slices."""
    return slices * math.prod(map(len, grid.values())) * denoising_seconds(None, baseline)


def noise_seconds(noise: Mapping[str, Any], views: int, threads: int) -> float:
    """Estimate how long a slice takes to be made noisy; `views` are those of the noise's scanner."""
    if noise["model"] == "low_dose":
        return LOW_DOSE_SECONDS_PER_VIEW * views / threads
    return COSTS["add_noise"].each
