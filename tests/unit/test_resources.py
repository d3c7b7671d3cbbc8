import re

import numpy as np
import pytest

from quietct.ct.patches import patch_corners
from quietct.experiment.settings import load_yaml
from quietct.nn.architecture import Architecture
from quietct.workflow.resources import (
    COSTS,
    LEAST_MINUTES,
    MOST_MINUTES,
    UNKNOWN_SLICES,
    held_out_share,
    memory_mb,
    minutes,
    noise_seconds,
    patches_of_slice,
    seconds_per_pixel,
    slices_of,
    training_seconds,
    tuning_seconds,
)

TRAINING = {"epochs": 3, "batch_size": 8}
RANDOM = {"layout": "random", "size": 64, "per_slice": 16}


@pytest.fixture(scope="module")
def networks(repository):
    return {
        name: network
        for path in repository.glob("config/*.yaml")
        for name, network in load_yaml(path)["networks"].items()
    }


def test_every_rule_asks_for_memory_and_time_that_grow_with_the_attempts(repository):
    rules = "".join(path.read_text() for path in repository.glob("workflow/rules/*.smk"))
    blocks = re.findall(r"^rule (\w+):\n((?:(?:    .*)?\n)+)", rules, re.MULTILINE)
    assert len(blocks) >= 28
    used = set()
    for name, block in blocks:
        memory = re.search(r"\n        mem_mb=get_memory\(\"(\w+)\".*\),\n", block)
        assert memory, name
        assert re.search(r"\n        runtime=get_(minutes\(\"\w+\".*\)|\w+_minutes),", block), name
        used.add(memory[1])
    assert used == set(COSTS)


@pytest.mark.parametrize("rule", COSTS)
def test_another_attempt_gets_more_memory(rule):
    assert memory_mb(rule, 2) == 2 * memory_mb(rule, 1)
    assert memory_mb(rule, 1, threads=2) > memory_mb(rule, 1)


def test_only_tables_need_more_memory_for_more_slices():
    assert memory_mb("measure_quality", 1, count=10_000) == memory_mb("measure_quality", 1)
    assert memory_mb("compare_methods", 1, count=1_000_000) > 2_000


def test_of_a_split_the_share_is_tested_that_it_holds_out():
    assert held_out_share(None) == 1
    assert held_out_share({"every": 24, "width": 4, "margin": 2}) == pytest.approx(1 / 6)
    assert held_out_share({"every": 8}) == pytest.approx(1 / 8)


def test_another_attempt_gets_more_time_within_the_limit_of_a_partition():
    assert minutes(1, 1) == LEAST_MINUTES
    assert minutes(1, 3) == 3 * LEAST_MINUTES
    assert minutes(3600, 2) == 2 * minutes(3600, 1) > 2 * 60
    assert minutes(1e9, 3) == MOST_MINUTES


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"source": "directory"}, UNKNOWN_SLICES),
        ({"source": "phantom"}, 24),
        ({"source": "phantom", "n_slices": 12}, 12),
        ({"source": "idc", "expected": {"n_slices": 299}}, 299),
        ({"source": "idc", "expected": {"n_slices": 299}, "n_slices": 5}, 5),
    ],
)
def test_slices_are_those_that_the_sheet_tells(row, expected):
    assert slices_of(row) == expected


@pytest.mark.parametrize(
    "settings",
    [RANDOM, {"layout": "quadrants"}, {"layout": "grid", "size": 60, "stride": 50}, {"layout": "grid", "size": 512,
     "stride": 7}],
)  # fmt: skip
def test_patches_are_those_that_a_full_slice_gives(settings):
    count, pixels = patches_of_slice(settings)
    assert count == len(patch_corners(np.zeros((512, 512)), settings, np.random.default_rng(1)))
    assert pixels == {"quadrants": 256**2}.get(settings["layout"], settings.get("size", 0) ** 2)


def test_a_network_costs_what_its_weights_and_filters_do(networks):
    for network in networks.values():
        architecture = Architecture.from_config(network)
        weights = sum(np.prod(shape) for shape in architecture.weight_shapes)
        expected = 1.2e-11 * weights + 2e-9 * sum(architecture.channels[1:])
        assert seconds_per_pixel(network) == pytest.approx(expected)


def test_a_training_is_as_long_as_its_epochs_patches_and_network(networks):
    def seconds(name="chen2017", slices=100, threads=1, **training):
        return training_seconds(networks[name], TRAINING | training, RANDOM, slices, threads)

    assert seconds(epochs=6) == pytest.approx(2 * seconds())
    assert seconds(slices=1000) == pytest.approx(10 * seconds(), rel=0.1)
    assert seconds("redcnn") > 1.5 * seconds()
    assert seconds() / 2 < seconds(threads=2) < 0.7 * seconds()
    assert seconds(batch_size=1, threads=2) >= seconds(batch_size=1)  # a batch of one is not shared out


def test_a_grid_takes_as_long_as_its_combinations():
    grid = {"patch_px": [5, 7], "distance_px": [7], "h_factor": [0.6, 0.7, 0.8]}
    assert tuning_seconds("nl_means", grid, 4) == pytest.approx(24 * tuning_seconds("nl_means", {"h_factor": [1]}, 1))
    assert tuning_seconds("bm3d", {"sigma_factor": [1]}, 1) > 10


def test_projected_noise_takes_longer_than_white_noise_and_is_shared_out():
    assert noise_seconds({"model": "low_dose"}, 360, 1) > 10 * noise_seconds({"model": "gaussian"}, 360, 1)
    assert noise_seconds({"model": "low_dose"}, 360, 2) == noise_seconds({"model": "low_dose"}, 180, 1)
