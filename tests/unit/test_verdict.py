"""The sentences: they say what the table says, in numbers with units, and what they cannot say."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
from slice_tables import slice_table, trainings

from quietct.evaluation.comparison import compare
from quietct.evaluation.slices import Slices
from quietct.evaluation.verdict import write_verdict

FILTERS = {"noisy": np.full(12, 28.0), "tv": 33 + 0.1 * np.arange(12), "median": np.full(12, 31.0)}
FOUR = {"sgd": 35, "gradient_noise": 35, "dilated": 35, "dilated_gradient_noise": 35}


def verdict_of(values, init="shared", **rules):
    slices = Slices(slice_table(values, **rules))
    return write_verdict(compare(slices), slices, init)


def test_one_difference_is_told_with_its_size_interval_and_what_it_was_judged_by():
    verdict = verdict_of({**FILTERS, **trainings({**FOUR, "dilated": 34.5})})
    pattern = (
        r"By PSNR \(5 seeds, 12 slices\), “dilated” is worse than “gradient descent”, "
        r"“gradient noise” and “dilated \+ gradient noise” by "
        r"0\.\d\d to 0\.\d\d dB \(95 % intervals within 0\.\d\d to 0\.\d\d dB\); no other difference is shown\."
    )
    assert re.fullmatch(pattern, verdict["headline"])
    assert verdict["sentences"]["weak"][0] == verdict["headline"]


def test_variants_that_lose_to_the_same_ones_are_told_together():
    means = {"sgd": 35, "gradient_noise": 35, "dilated": 34, "dilated_gradient_noise": 34}
    headline = verdict_of(trainings(means, seed_sd=0.02))["headline"]
    assert (
        "“dilated” and “dilated + gradient noise” are worse than “gradient descent” and “gradient noise” by "
        in headline
    )
    assert headline.count("worse") == 1


def test_two_variants_are_told_with_the_better_first():
    for means in ({"sgd": 35, "dilated": 34}, {"dilated": 34, "sgd": 35}):
        headline = verdict_of(trainings(means))["headline"]
        found = re.search(r"“gradient descent” is better than “dilated” by (.*) dB \(95 % (.*) to (.*) dB\)", headline)
        size, low, high = map(float, found.groups())
        assert low < size < high
        assert abs(size - 1) < 0.1


def test_no_difference_names_the_largest_and_its_interval():
    headline = verdict_of({**FILTERS, **trainings(FOUR, seed_sd=0.2)})["headline"]
    assert headline.startswith(
        "No difference between the four kinds of back-propagation is shown: the largest in PSNR is "
    )
    assert re.search(r"95 % −0\.\d+ to 0\.\d+ dB \(5 seeds, 12 slices\)\.$", headline)


def test_kinds_whose_images_are_the_same_are_told_to_be_so_and_none_comes_before_the_other():
    same = trainings({"sgd": 35}, seed_sd=0.2)
    same |= {name.replace("sgd", "dilated"): values for name, values in same.items()}
    told = "The two kinds of back-propagation gave the same PSNR on all slices (5 seeds, 12 slices)."
    assert verdict_of({**FILTERS, **same})["headline"] == told
    one = {name: values for name, values in same.items() if name.endswith("seed1")}
    assert verdict_of(one)["headline"] == told.replace("5 seeds", "1 seed")


def test_one_seed_tells_no_difference_between_kinds():
    verdict = verdict_of({**FILTERS, **trainings({**FOUR, "dilated": 30}, n_seeds=1)})
    assert verdict["headline"].startswith("Whether the four kinds of back-propagation differ cannot be told: each was ")
    assert "(1 seed, 12 slices)" in verdict["headline"]
    text = " ".join(verdict["sentences"]["weak"])
    assert "better than" not in text
    assert "whether that is real cannot be told" in text
    assert "not for other trainings" in text


def test_the_best_network_is_compared_with_the_best_filter():
    text = " ".join(verdict_of({**FILTERS, **trainings({"sgd": 35, "dilated": 36})})["sentences"]["weak"])
    found = re.search(
        r"The best kind, “dilated”, is better than the best classical filter, total variation, by (.*?) dB of PSNR "
        r"\(95 % .*? dB\); it is better than each of the two filters",
        text,
    )
    assert abs(float(found[1]) - (36 - 33.55)) < 0.5
    assert "Compared with that filter by other measures: better by RMSE." in text
    worse = " ".join(verdict_of({"tv": np.full(12, 40.0), **trainings({"sgd": 35})})["sentences"]["weak"])
    assert re.search(
        r"“gradient descent”, is worse than the best classical filter, total variation, by [45]\.\d\d dB", worse
    )


def test_first_weights_are_told_with_what_pairing_does():
    for init, words in (("shared", "The kinds of one seed had the same first weights"), ("independent", "of its own")):
        sentences = verdict_of(trainings(FOUR), init)["sentences"]["weak"]
        (sentence,) = [one for one in sentences if "first weights" in one]
        assert words in sentence
        assert re.search(r"scatters by 0\.\d{3} dB.*by 0\.\d{3} dB", sentence)


def test_other_measures_are_counted():
    text = " ".join(verdict_of(trainings({**FOUR, "dilated": 34.5}))["sentences"]["weak"])
    assert "in other measures: in RMSE 3 of 6." in text


def test_failures_are_told():
    values = trainings(FOUR)
    values["net-dilated-seed2"][3] = np.nan
    text = " ".join(verdict_of(values)["sentences"]["weak"])
    assert "“gradient descent” and “dilated”: 1 of 12 slices left out" in text
    for seed in range(1, 6):
        for variant in FOUR:
            values[f"net-{variant}-seed{seed}"][:] = np.nan
    verdict = verdict_of({**FILTERS, **values})
    assert "can be compared" in verdict["headline"]
    assert "cannot be compared with a classical filter" in " ".join(verdict["sentences"]["weak"])


def test_a_run_of_one_kind_or_without_networks_or_filters_is_explained():
    assert "One kind of back-propagation was trained" in verdict_of(trainings({"sgd": 35}))["headline"]
    assert "No classical filter was run" in " ".join(verdict_of(trainings({"sgd": 35}))["sentences"]["weak"])
    assert "No network was trained" in verdict_of(FILTERS)["headline"]


def test_several_noises_and_networks_are_told_apart():
    values = {**trainings({"sgd": 35, "dilated": 34}), **trainings({"sgd": 35, "dilated": 34}, network="wide")}
    table = pd.concat([slice_table(values, noise=noise) for noise in ("weak", "strong")])
    slices = Slices(table)
    verdict = write_verdict(compare(slices), slices, "shared")
    assert list(verdict["sentences"]) == ["weak", "strong"]
    assert verdict["headline"].count("is better than") == 4
    assert "Noise weak, network net: By PSNR" in verdict["headline"]
    assert verdict["sentences"]["weak"][0].startswith("With the network net: ")


def test_what_holds_of_all_networks_is_a_headline_once():
    values = {**FILTERS, **trainings({"sgd": 35}), **trainings({"sgd": 36}, network="wide")}
    headline = "One kind of back-propagation was trained, so that there is none to compare it with."
    assert verdict_of(values)["headline"] == headline


def test_no_sentence_has_a_number_that_is_none():
    for values in (trainings(FOUR), trainings(FOUR, n_seeds=1), trainings(FOUR, n_slices=1), trainings(FOUR, 1, 1)):
        text = " ".join(verdict_of({**{k: v[: len(next(iter(values.values())))] for k, v in FILTERS.items()}, **values})
                        ["sentences"]["weak"])  # fmt: skip
        assert not re.search(r"\b(nan|inf|None)\b", text)
