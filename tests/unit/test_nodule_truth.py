"""Where nodules are said to be, against pictures of them."""

import numpy as np
import pandas as pd
import pytest

from quietct.ct.nodule_table import COLUMNS, read_nodules
from quietct.ct.nodule_truth import locate_nodules, on_pixels
from quietct.ct.phantom import PIXEL_MM, insert_nodules, nodules, phantom
from quietct.errors import UserError

LAYOUT = 3
HEADER = "\t".join(COLUMNS) + "\n"


def test_a_nodules_centre_is_where_the_pixels_show_it():
    chest = phantom(LAYOUT)
    table = on_pixels(nodules(LAYOUT))
    at = np.arange(512)
    dense = table[(table["hu"] > -500) & (table["diameter_mm"] > 9)]
    assert len(dense) == 6
    for nodule in dense.itertuples():
        empty = chest.render_slice(nodule.z_mm, 1.0, with_nodules=False)
        full = empty.copy()
        insert_nodules(full, nodules(LAYOUT), nodule.z_mm, 1.0)
        radius = nodule.diameter_mm / 2 / PIXEL_MM
        near = np.hypot(at[:, None] - nodule.row, at - nodule.column) < radius + 3
        weight = np.where(near & (empty < -200), (full - empty) / (nodule.hu - empty), 0)
        seen = [(weight * axis).sum() / weight.sum() for axis in (at[:, None], at)]
        assert seen == pytest.approx([nodule.row, nodule.column], abs=0.2)
        assert np.sqrt(weight.sum() / np.pi) == pytest.approx(radius, rel=0.03)


def test_the_file_lists_every_nodule_of_the_layout(tmp_path):
    locate_nodules(tmp_path / "nodules.tsv", layout=LAYOUT)
    table = read_nodules(tmp_path / "nodules.tsv")
    assert list(table) == list(COLUMNS)
    truth = nodules(LAYOUT)
    assert table["hu"].tolist() == [nodule.hu for nodule in truth]
    assert table["z_mm"].tolist() == pytest.approx([nodule.centre_mm[2] for nodule in truth])


def test_where_nothing_is_known_the_file_is_its_header(tmp_path):
    locate_nodules(tmp_path / "nodules.tsv")
    assert (tmp_path / "nodules.tsv").read_text() == HEADER
    assert read_nodules(tmp_path / "nodules.tsv").empty


def test_a_users_table_is_taken_over_without_its_other_columns(tmp_path):
    (tmp_path / "mine.tsv").write_text("name\thu\tdiameter_mm\tz_mm\tcolumn\trow\nA\t100\t10\t-3.5\t20\t30.25\n")
    locate_nodules(tmp_path / "nodules.tsv", known_tsv=tmp_path / "mine.tsv")
    expected = pd.DataFrame([[30.25, 20, -3.5, 10, 100]], columns=list(COLUMNS), dtype=float)
    pd.testing.assert_frame_equal(read_nodules(tmp_path / "nodules.tsv"), expected)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("row\tcolumn\tz_mm\thu\n1\t2\t3\t4\n", "lacks the column diameter_mm"),
        (HEADER + "1\t2\t3\t0\t5\n", "diameters above 0"),
        (HEADER + "1\tleft\t3\t4\t5\n", "finite numbers"),
        (HEADER + "1\t2\t\t4\t5\n", "finite numbers"),
        ("", "no tab-separated text file"),
        (None, "does not exist"),
    ],
)
def test_a_table_that_is_no_truth_is_refused_in_one_sentence(tmp_path, text, words):
    if text is not None:
        (tmp_path / "mine.tsv").write_text(text)
    with pytest.raises(UserError, match=words):
        locate_nodules(tmp_path / "nodules.tsv", known_tsv=tmp_path / "mine.tsv")
    assert not (tmp_path / "nodules.tsv").exists()
