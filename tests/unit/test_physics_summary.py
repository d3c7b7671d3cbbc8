"""Columns of the summary from JSONs, against means taken by hand."""

import json

import numpy as np
import pandas as pd
import pytest

from quietct.evaluation.columns import WINDOW_COLUMNS
from quietct.evaluation.physics_summary import COLUMNS, summarise_physics
from quietct.evaluation.summary import with_physics

FULL = {
    "noise_power": {"sd_hu": 10.0, "peak_per_mm": 0.2, "mean_per_mm": 0.3},
    "task_transfer": {"ttf50_per_mm": 0.33},
    "nodules": {"contrast_recovery": 0.9, "cnr": 20.0},
    "detectability": {"d_prime": 2.0, "interval": [1.7, 2.4]},
}


@pytest.fixture
def summed(tmp_path):
    """Function that writes JSONs, each a method, a series and what differs from `FULL`, and sums them up."""

    def run(*found):
        paths = []
        for k, (method, series, change) in enumerate(found):
            paths.append(tmp_path / f"{k}.json")
            paths[-1].write_text(json.dumps({"noise": "n", "method": method, "series": series} | FULL | change))
        return summarise_physics(paths)

    return run


def test_one_series_gives_its_own_values(summed):
    row = summed(("m", "a", {})).loc[("n", "m")]
    assert [row[column] for column in COLUMNS] == pytest.approx([10, 0.2, 0.3, 0.33, 0.9, 20, 2, 1.7, 2.4])
    assert row["notes"] == ""


def test_two_series_give_means_and_the_interval_of_a_mean_of_independent_values(summed):
    other = {"noise_power": {**FULL["noise_power"], "sd_hu": 20.0}}
    other["detectability"] = {"d_prime": 3.0, "interval": [2.6, 3.3]}
    row = summed(("m", "a", {}), ("m", "b", other)).loc[("n", "m")]
    assert row["noise_sd_hu"] == 15
    assert row["d_prime"] == 2.5
    assert row["d_prime_low"] == pytest.approx(2.5 - np.hypot(0.3, 0.4) / 2)
    assert row["d_prime_high"] == pytest.approx(2.5 + np.hypot(0.4, 0.3) / 2)


def test_what_no_method_has_in_a_series_leaves_the_series_out(summed):
    none = {"nodules": {"missing": "Nobody knows."}}
    table = summed(("m", "a", {}), ("m", "b", none), ("other", "a", {}), ("other", "b", none))
    assert table["contrast_recovery"].tolist() == [0.9, 0.9]
    assert (table["notes"] == "").all()


def test_a_method_without_what_another_one_has_gets_no_mean_but_a_note(summed):
    failed = {"nodules": {"missing": "The method failed in 1 of 3 slices."}}
    table = summed(("m", "a", {}), ("m", "b", failed), ("other", "a", {}), ("other", "b", {}))
    assert np.isnan(table.loc[("n", "m"), "contrast_recovery"])
    assert table.loc[("n", "m"), "notes"] == "no contrast_recovery, cnr: the method failed in 1 of 3 slices"
    assert table.loc[("n", "m"), "noise_sd_hu"] == 10
    assert table.loc[("n", "other"), "notes"] == ""


def test_missing_measures_and_null_values_are_explained_each_once(summed):
    change = {
        "detectability": {"missing": "The config has no key detection."},
        "task_transfer": {"ttf50_per_mm": None},
        "noise_power": {"sd_hu": 0.0, "peak_per_mm": None, "mean_per_mm": None},
    }
    row = summed(("m", "a", change)).loc[("n", "m")]
    assert row["noise_sd_hu"] == 0
    assert row["notes"].split("; ") == [
        "no noise_peak_per_mm, noise_mean_per_mm: there is no noise",
        "no ttf50_per_mm: the transfer function does not fall to a half below the Nyquist frequency",
        "no d_prime, d_prime_low, d_prime_high: the config has no key detection",
    ]


def test_the_summary_has_them_before_the_windows_and_their_notes_after_its_own(summed):
    none = {"nodules": {"missing": "Nobody knows."}}
    table = pd.DataFrame({"noise": "n", "method": ["b", "a"], "psnr_db": [30.0, 20.0]})
    table = table.assign(**dict.fromkeys(WINDOW_COLUMNS, 0.0), notes=["no vif: the target is constant", ""])
    joined = with_physics(table, summed(("a", "s", {}), ("b", "s", none)))
    assert list(joined) == ["noise", "method", "psnr_db", *COLUMNS, *WINDOW_COLUMNS, "notes"]
    assert joined["method"].tolist() == ["b", "a"]
    assert joined["contrast_recovery"].isna().tolist() == [True, False]
    assert joined["d_prime"].tolist() == [2, 2]
    assert joined["notes"].tolist() == [
        "no vif: the target is constant; no contrast_recovery, cnr: nobody knows",
        "",
    ]
