import numpy as np
import pandas as pd
import pytest

from quietct.report.table import make_table, number, read_summary, reason_for


def summary(**columns):
    rows = {"noise": ["mild", "mild", "mild"], "method": ["noisy", "median", "net-sgd-seed1"], **columns}
    return pd.DataFrame(rows)


def cells(table, method):
    row = next(row for row in table.rows if row.method == method)
    return {
        column.measure.name: cell
        for group, columns in table.groups.items()
        for column, cell in zip(columns, row.cells[group], strict=True)
    }


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [(1.005, 1, "1.0"), (-2.345, 2, "−2.35"), (-0.001, 2, "0.00"), (float("inf"), 2, "∞"), (-np.inf, 0, "−∞")],
)
def test_numbers_have_a_true_minus_and_no_negative_zero(value, digits, text):
    assert number(value, digits) == text


def test_the_best_is_judged_as_printed_and_the_noisy_image_does_not_compete():
    table = make_table(summary(psnr_db=[99.0, 30.001, 30.004], rmse_hu=[1.0, 12.0, 11.0], bias_hu=[0, 0.5, -1.0]))
    assert [cells(table, m)["psnr_db"].best for m in ("noisy", "median", "net-sgd-seed1")] == [False, True, True]
    assert cells(table, "net-sgd-seed1")["rmse_hu"].best
    assert cells(table, "median")["bias_hu"].best


def test_a_single_method_is_not_called_the_best():
    table = make_table(summary(psnr_db=[20.0, 30.0, 31.0]).head(2))
    assert not cells(table, "median")["psnr_db"].best


def test_each_noise_has_its_own_best():
    both = pd.concat([summary(psnr_db=[1.0, 2.0, 3.0]), summary(psnr_db=[1.0, 3.0, 2.0]).assign(noise="strong")])
    best = [(row.noise, row.method) for row in make_table(both).rows if row.cells["Fidelity"][0].best]
    assert best == [("mild", "net-sgd-seed1"), ("strong", "median")]


def test_headings_name_window_and_data_range():
    ends = {"lung_window_low_hu": -1350, "lung_window_high_hu": 150, "window_low_hu": -160, "window_high_hu": 240}
    table = make_table(summary(psnr_db=1.0, psnr_lung_db=1.0, rmse_hu=1.0, **ends))
    windows = {c.measure.name: (c.window, c.data_range) for columns in table.groups.values() for c in columns}
    assert windows["psnr_db"] == ("−160 to 240 HU", "400 HU")
    assert windows["psnr_lung_db"] == ("−1350 to 150 HU", "1500 HU")
    assert windows["rmse_hu"] == ("", "")


def test_an_empty_cell_has_the_reason_that_names_its_column():
    notes = "no vif, cnr: the target is constant; no rmse_nodule_hu: no nodule is known"
    assert reason_for("cnr", notes) == "The target is constant."
    assert reason_for("rmse_nodule_hu", notes) == "No nodule is known."
    assert reason_for("ssim", notes) == notes
    assert reason_for("ssim", "") == "The run gives no value and no reason."


def test_notes_are_told_once_with_headings_and_their_methods():
    notes = ["no vif, rmse_hu: nothing", "the method failed; no vif, rmse_hu: nothing", ""]
    assert make_table(summary(vif=np.nan, notes=notes)).notes == {
        "VIF; RMSE: nothing": ["noisy", "median filter"],
        "the method failed": ["median filter"],
    }


def test_a_summary_is_read_with_its_infinities_gaps_and_names(tmp_path):
    path = tmp_path / "summary.tsv"
    path.write_text("noise\tmethod\tpsnr_db\tssim\tnotes\n1\tnan\tinf\t\tno ssim: why not\n")
    table = make_table(read_summary(path))
    assert (table.rows[0].noise, table.rows[0].method) == ("1", "nan")
    assert cells(table, "nan")["psnr_db"].text == "∞"
    assert cells(table, "nan")["ssim"] == ("—", "", False, "Why not.")


def test_the_ceiling_of_a_noise_is_told_where_there_is_one():
    table = make_table(summary(psnr_db=1.0, ceiling_psnr_db=[np.nan, np.nan, np.nan]))
    assert table.ceilings == {}
    assert make_table(summary(psnr_db=1.0, ceiling_psnr_db=41.237)).ceilings == {"mild": "41.24"}
