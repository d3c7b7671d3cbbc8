"""The comparison of methods: numbers against SciPy, and every gap explained."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from slice_tables import slice_table, trainings

from quietct.errors import UserError
from quietct.evaluation.comparison import COLUMNS, compare, compare_methods
from quietct.evaluation.seed_scatter import seed_scatter
from quietct.evaluation.slices import Slices

FILTERS = {"noisy": np.full(12, 28.0), "tv": 33 + 0.1 * np.arange(12), "median": np.full(12, 31.0)}


def rows_of(values, **rules):
    table = compare(Slices(slice_table(values, **rules)))
    assert list(table) == list(COLUMNS)
    return table


def row_of(table, first, second, measure="psnr_db"):
    rows = table[(table["first"] == first) & (table["second"] == second) & (table["measure"] == measure)]
    assert len(rows) == 1
    return rows.iloc[0]


def test_every_pair_of_variants_and_the_best_with_every_filter_are_compared_once():
    values = {**FILTERS, **trainings({"sgd": 35, "gradient_noise": 35.4, "dilated": 34})}
    table = rows_of(values)
    pairs = [(row.measure, row.first, row.second) for row in table.itertuples()]
    expected = [
        ("sgd", "gradient_noise"),
        ("sgd", "dilated"),
        ("gradient_noise", "dilated"),
        ("gradient_noise", "tv"),
        ("gradient_noise", "median"),
    ]
    assert pairs == [(measure, *pair) for measure in ("psnr_db", "rmse_hu") for pair in expected]
    assert (table["n_seeds"] == 5).all()
    assert (table["n_slices"] == 12).all()


def test_numbers_are_means_of_the_pairs_and_the_sign_follows_the_measure():
    values = {**FILTERS, **trainings({"sgd": 35, "dilated": 34})}
    table = rows_of(values)
    by_hand = [np.mean([values[f"net-{name}-seed{seed}"] for seed in range(1, 6)]) for name in ("sgd", "dilated")]
    row = row_of(table, "sgd", "dilated")
    assert [row["mean_first"], row["mean_second"]] == pytest.approx(by_hand)
    assert row["difference"] == pytest.approx(by_hand[0] - by_hand[1])
    assert row["low"] < row["difference"] < row["high"]
    assert row["low"] > 0.8
    assert row["verdict"] == "better"
    less = row_of(table, "sgd", "dilated", "rmse_hu")
    assert less["difference"] == pytest.approx(-row["difference"])
    assert less["verdict"] == "better"
    assert less["p"] == pytest.approx(row["p"])


def test_with_one_slice_the_test_is_the_paired_t_test_over_seeds():
    values = trainings({"sgd": 35, "dilated": 34.95}, n_slices=1)
    first, second = ([values[f"net-{name}-seed{seed}"][0] for seed in range(1, 6)] for name in ("sgd", "dilated"))
    row = row_of(rows_of(values), "sgd", "dilated")
    assert row["p"] == pytest.approx(stats.ttest_rel(first, second).pvalue)
    assert row["p_adjusted"] == row["p"]
    assert row["note"] == "one slice: nothing is said of other slices"


def test_p_is_corrected_within_a_family_of_pairs():
    table = rows_of({**FILTERS, **trainings({"sgd": 35, "gradient_noise": 35.05, "dilated": 34.93}, seed_sd=0.1)})
    between = table[(table["measure"] == "psnr_db") & table["second"].isin(["gradient_noise", "dilated"])]
    smallest = between["p"].min()
    assert between["p_adjusted"].min() == pytest.approx(3 * smallest)
    assert (between["p_adjusted"] >= between["p"]).all()
    against = table[(table["measure"] == "psnr_db") & table["second"].isin(["tv", "median"])]
    assert against["p_adjusted"].min() == pytest.approx(2 * against["p"].min())


def test_chance_alone_is_no_difference():
    found = [
        (
            rows_of(trainings({"sgd": 35, "dilated": 35}, rng_seed=k), measures=["psnr_db"])["verdict"]
            != "no difference shown"
        )
        for k in range(40)
    ]
    assert np.mean(found) < 0.2


def test_one_seed_gives_an_interval_over_slices_and_no_test():
    table = rows_of({**FILTERS, **trainings({"sgd": 35, "dilated": 34}, n_seeds=1)})
    assert table["p"].isna().all()
    assert table["p_adjusted"].isna().all()
    assert (table["verdict"] == "not testable").all()
    assert table["low"].notna().all()
    assert table["note"].str.startswith("one seed: ").all()


def test_two_seeds_are_not_tested():
    row = row_of(rows_of(trainings({"sgd": 35, "dilated": 34}, n_seeds=2)), "sgd", "dilated")
    assert np.isnan(row["p"])
    assert row["verdict"] == "not testable"
    assert row["note"] == "two seeds are too few for a test"


def test_one_seed_and_one_slice_give_the_difference_alone():
    row = row_of(rows_of(trainings({"sgd": 35, "dilated": 34}, n_seeds=1, n_slices=1)), "sgd", "dilated")
    assert row["difference"] == pytest.approx(1, abs=0.3)
    assert np.isnan([row["low"], row["high"], row["p"]]).all()
    assert row["verdict"] == "not testable"


def test_failed_slices_are_left_out_of_both_and_counted():
    values = trainings({"sgd": 35, "dilated": 34.9})
    values["net-dilated-seed2"][3:5] = np.nan
    row = row_of(rows_of(values), "sgd", "dilated")
    assert (row["n_seeds"], row["n_slices"]) == (5, 10)
    kept = [0, 1, 2, *range(5, 12)]
    assert row["mean_first"] == pytest.approx(np.mean([values[f"net-sgd-seed{seed}"][kept] for seed in range(1, 6)]))
    assert "2 of 12 slices left out" in row["note"]


def test_a_training_that_failed_everywhere_takes_its_seed_out():
    values = {**FILTERS, **trainings({"sgd": 35, "dilated": 34.9})}
    values["net-dilated-seed4"][:] = np.nan
    row = row_of(rows_of(values), "sgd", "dilated")
    assert (row["n_seeds"], row["n_slices"]) == (4, 12)
    assert row["note"] == "seed 4 left out, because one of the two has no value on any slice"


def test_a_variant_that_always_failed_cannot_be_compared_and_is_not_the_best():
    values = {**FILTERS, **trainings({"sgd": 35, "dilated": 36})}
    for seed in range(1, 6):
        values[f"net-dilated-seed{seed}"][:] = np.nan
    table = rows_of(values)
    row = row_of(table, "sgd", "dilated")
    assert row[["mean_first", "difference", "low", "p"]].isna().all()
    assert row["verdict"] == "not testable"
    assert "no value on any slice" in row["note"]
    assert row_of(table, "sgd", "tv")["verdict"] == "better"


def test_an_equal_image_has_no_difference_in_db_and_one_in_hu():
    values = trainings({"sgd": 35, "dilated": 34})
    table = slice_table(values)
    table.loc[table["method"].eq("net-sgd-seed1") & table["slice"].eq(2), "psnr_db"] = np.inf
    table = compare(Slices(table))
    row = row_of(table, "sgd", "dilated")
    assert np.isnan([row["difference"], row["p"]]).all()
    assert row["verdict"] == "not testable"
    assert row["note"] == "the value is infinite on 1 of 12 slices, where an image equals its target"
    assert row_of(table, "sgd", "dilated", "rmse_hu")["verdict"] == "better"


def test_equal_methods_and_constant_differences_get_no_p_value():
    same = trainings({"sgd": 35})
    for offset, verdict, note in ((0, "no difference shown", "equal"), (0.25, "not testable", "no scatter")):
        shifted = {method.replace("sgd", "dilated"): psnr - offset for method, psnr in same.items()}
        row = row_of(rows_of({**same, **shifted}), "sgd", "dilated")
        assert row["difference"] == pytest.approx(offset)
        assert np.isnan(row["p"])
        assert row["verdict"] == verdict
        assert note in row["note"]


def test_a_seed_that_one_variant_lacks_is_left_out():
    values = trainings({"sgd": 35, "dilated": 34})
    del values["net-dilated-seed5"]
    row = row_of(rows_of(values), "sgd", "dilated")
    assert row["n_seeds"] == 4
    assert row["note"] == "seed 5 left out, because only one of the two has it"


def test_one_variant_and_no_filter_leave_an_empty_table():
    assert rows_of(trainings({"sgd": 35})).empty
    assert rows_of(FILTERS).empty


def test_slices_of_several_series_are_paired_by_series_and_number():
    values = trainings({"sgd": 35, "dilated": 34})
    table = slice_table(values, n_series=3)
    shuffled = table.sample(frac=1, random_state=1)
    shuffled = shuffled.sort_values("method", key=lambda names: names.map({name: k for k, name in enumerate(values)}))
    pd.testing.assert_frame_equal(compare(Slices(shuffled)), compare(Slices(table)))
    assert (compare(Slices(table))["n_slices"] == 12).all()


def test_all_measures_of_the_list_that_are_there_are_compared():
    table = slice_table(trainings({"sgd": 35, "dilated": 34}), measures=["vif", "ssim", "psnr_db"])
    assert compare(Slices(table))["measure"].tolist() == ["psnr_db", "ssim", "vif"]
    assert compare(Slices(table.assign(vif=np.nan)))["measure"].tolist() == ["psnr_db", "ssim"]


def test_shared_luck_of_a_seed_scatters_less_in_pairs():
    rng = np.random.default_rng(1)
    luck = 0.3 * rng.standard_normal(5)
    values = {
        f"net-{variant}-seed{k + 1}": 35 + luck[k] + 0.01 * rng.standard_normal(12)
        for variant in ("sgd", "dilated")
        for k in range(5)
    }
    scatter = seed_scatter(Slices(slice_table(values)), "weak", "net", "psnr_db")
    means = {name: [values[f"net-{name}-seed{k}"].mean() for k in range(1, 6)] for name in ("sgd", "dilated")}
    assert scatter.paired == pytest.approx(np.std(np.subtract(*means.values()), ddof=1))
    assert scatter.unpaired == pytest.approx(np.sqrt(sum(np.var(mean, ddof=1) for mean in means.values())))
    assert scatter.paired < 0.1 * scatter.unpaired


def test_the_files_of_a_run_become_a_table_and_a_verdict(tmp_path):
    values = {**FILTERS, **trainings({"sgd": 35, "dilated": 34})}
    paths = []
    for method, rows in slice_table(values).groupby("method", sort=False):
        paths.append(tmp_path / f"{method}.tsv")
        rows.assign(ceiling_psnr_db="").to_csv(paths[-1], sep="\t", index=False)
    for name in ("one", "two"):
        compare_methods(paths, tmp_path / f"{name}.tsv", tmp_path / f"{name}.json", "shared")
    table = pd.read_csv(tmp_path / "one.tsv", sep="\t")
    assert list(table) == list(COLUMNS)
    assert len(table) == 2 * (1 + 2)
    verdict = json.loads((tmp_path / "one.json").read_text())
    assert set(verdict) == {"headline", "sentences"}
    assert list(verdict["sentences"]) == ["weak"]
    assert (tmp_path / "one.tsv").read_bytes() == (tmp_path / "two.tsv").read_bytes()
    assert (tmp_path / "one.json").read_bytes() == (tmp_path / "two.json").read_bytes()


def test_nothing_to_compare_is_said(tmp_path):
    with pytest.raises(UserError, match="role test"):
        compare_methods([], tmp_path / "a.tsv", tmp_path / "b.json", "shared")
