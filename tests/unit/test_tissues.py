"""Errors in each tissue, in images whose tissues and errors are known."""

import json

import numpy as np
import pandas as pd
import pytest

from quietct.ct.clipping import GreyScale
from quietct.ct.nodule_truth import on_pixels
from quietct.ct.phantom import nodules, phantom
from quietct.evaluation.quality import measure_quality
from quietct.evaluation.tissues import nodule_mask, slice_tissues, tissue_errors, tissue_masks

INFO = {"z_mm": [0.0], "spacing_mm": [0.7, 0.7], "slice_thickness_mm": 1.0}


@pytest.fixture
def drawn():
    """A body of muscle with a lung, a bronchus of air in it, fat and a bone, on foam in air (200 x 200), HU."""
    hu = np.full((200, 200), -1000.0)
    hu[10:190, 10:190] = 50
    hu[30:110, 30:90] = -860
    hu[60:80, 50:70] = -1000
    hu[120:180, 30:90] = -100
    hu[50:100, 120:160] = 400
    hu[192:] = -850
    return hu


def one_nodule(**changes):
    values = {"row": 60.0, "column": 50.0, "z_mm": 0.0, "diameter_mm": 14.0, "hu": 100.0} | changes
    return pd.DataFrame([values])


def test_each_tissue_is_found_and_edges_and_air_are_none(drawn):
    masks = tissue_masks(drawn)
    assert set(np.unique(drawn[masks["lung"]])) == {-860}
    assert set(np.unique(drawn[masks["soft_tissue"]])) == {50, -100}
    assert set(np.unique(drawn[masks["bone"]])) == {400}
    # Of 80 x 60 pixels of lung, less 20 x 20 of air, all but a rim must remain.
    assert 0.7 < masks["lung"].sum() / (80 * 60 - 400) < 0.95
    assert not masks["lung"][30:32].any()
    assert not masks["lung"][190:].any()  # foam is as dense as lung, but no part of the body
    assert not masks["bone"][:, :121].any()


def test_the_error_of_each_tissue_is_its_own(drawn):
    shifts = {"lung": 20.0, "soft_tissue": -7.0, "bone": -30.0}
    image = drawn.copy()
    for tissue, mask in tissue_masks(drawn).items():
        image[mask] += shifts[tissue]
    errors = tissue_errors(image, drawn, tissue_masks(drawn))
    for tissue, shift in shifts.items():
        assert errors[f"bias_{tissue}_hu"] == pytest.approx(shift)
        assert errors[f"rmse_{tissue}_hu"] == pytest.approx(abs(shift))


def test_noise_of_the_target_hardly_biases_the_choice(drawn):
    """The exact image must seem unbiased against a noisy target, though tissues are told on the noise."""
    noisy = drawn + np.random.default_rng(9).normal(0, 40, drawn.shape)
    errors = tissue_errors(drawn, noisy, tissue_masks(noisy))
    for tissue, most in (("lung", 2), ("soft_tissue", 2), ("bone", 3)):
        assert abs(errors[f"bias_{tissue}_hu"]) < most
        assert errors[f"rmse_{tissue}_hu"] == pytest.approx(40, rel=0.05)


def test_choosing_on_the_unsmoothed_target_would_bias(drawn):
    noisy = drawn + np.random.default_rng(9).normal(0, 40, drawn.shape)
    chosen = {"lung": (noisy > -950) & (noisy < -850) & (drawn == -860)}
    assert abs(tissue_errors(drawn, noisy, chosen)["bias_lung_hu"]) > 10


def test_tissues_that_the_grey_scale_cuts_off_are_none(drawn):
    scale = GreyScale(-160.0, 240.0)
    masks = tissue_masks(np.clip(drawn, *scale), scale)
    assert {tissue: bool(mask.any()) for tissue, mask in masks.items()} == {
        "lung": False,
        "soft_tissue": True,
        "bone": False,
    }


@pytest.mark.parametrize("z_mm", [0.0, 4.0])
def test_a_nodule_is_a_sphere_cut_by_the_slice(z_mm):
    mask = nodule_mask((200, 200), one_nodule(z_mm=z_mm), 0.0, 0.0, [0.4, 0.6], 0)
    assert mask.sum() * 0.24 == pytest.approx(np.pi * (49 - z_mm**2), rel=0.02)
    assert np.argwhere(mask).mean(axis=0).tolist() == pytest.approx([60, 50])
    assert np.ptp(np.argwhere(mask)[:, 0]) * 0.4 == pytest.approx(2 * np.sqrt(49 - z_mm**2), abs=0.8)


def test_inner_pixels_of_nodules_leave_out_edge_and_partial_slices():
    whole = nodule_mask((200, 200), one_nodule(), 0.0, 0.0, [0.5, 0.5], 0)
    inner = nodule_mask((200, 200), one_nodule(), 0.0, 0.0, [0.5, 0.5], 2)
    assert inner.sum() * 0.25 == pytest.approx(np.pi * 6**2, rel=0.03)
    assert not (inner & ~whole).any()
    near_the_pole = nodule_mask((200, 200), one_nodule(), 6.0, 3.0, [0.5, 0.5], 2)
    assert not near_the_pole.any()
    assert nodule_mask((200, 200), one_nodule(), 8.0, 3.0, [0.5, 0.5], -2).any()


def test_a_nodule_is_no_other_tissue(drawn):
    drawn[55:66, 40:46] = -700
    masks = slice_tissues(drawn, GreyScale(), INFO, 0, one_nodule(row=60.0, column=43.0, diameter_mm=10.0))
    assert masks["nodule"].sum() > 20
    for tissue in ("lung", "soft_tissue", "bone"):
        assert not (masks[tissue] & masks["nodule"]).any()
        assert not masks[tissue][60, 43]


def test_a_nodule_darker_than_the_grey_scale_is_none(drawn):
    scale = GreyScale(-160.0, 240.0)
    clipped = np.clip(drawn, *scale)
    assert not slice_tissues(clipped, scale, INFO, 0, one_nodule(hu=-630.0))["nodule"].any()
    assert slice_tissues(clipped, scale, INFO, 0, one_nodule(hu=100.0))["nodule"].any()


def test_the_phantoms_nodules_have_their_density_in_their_inner_pixels():
    table = on_pixels(nodules(1))
    chosen = table[table["diameter_mm"] >= 10].iloc[0]
    info = {"z_mm": [chosen["z_mm"]], "spacing_mm": [0.703125] * 2, "slice_thickness_mm": 1.0}
    clean = phantom(1).render_slice(chosen["z_mm"], 1.0)
    alone = table[np.isclose(table["z_mm"], chosen["z_mm"]) & np.isclose(table["row"], chosen["row"])]
    inner = slice_tissues(clean, GreyScale(), info, 0, alone)["nodule"]
    assert inner.sum() > 20
    assert clean[inner].tolist() == pytest.approx([chosen["hu"]] * int(inner.sum()), abs=1)


@pytest.mark.parametrize("content", ["", "50\t60\t90\t10\t100\n"])
def test_no_nodule_in_the_slices_leaves_the_cells_empty(tmp_path, drawn, content):
    """The table has no rows, or a nodule far above the slice; nothing but muscle is there either."""
    noise = np.random.default_rng(10).normal(0, 5, drawn.shape)
    muscle = (np.where(drawn > -900, 50, -1000) + noise).round().astype(np.int16)[None]
    np.save(tmp_path / "clean.npy", muscle)
    np.save(tmp_path / "image.npy", muscle + np.int16(5))
    (tmp_path / "info.json").write_text(json.dumps(INFO))
    (tmp_path / "nodules.tsv").write_text(f"row\tcolumn\tz_mm\tdiameter_mm\thu\n{content}")
    paths = [tmp_path / name for name in ("clean.npy", "info.json", "image.npy", "out.tsv")]
    measure_quality(*paths, "n", "m", "s", (-160, 240), nodules=tmp_path / "nodules.tsv")
    row = pd.read_csv(tmp_path / "out.tsv", sep="\t").iloc[0]
    assert row[["rmse_nodule_hu", "bias_nodule_hu", "rmse_lung_hu", "bias_bone_hu"]].isna().all()
    assert row["bias_soft_tissue_hu"] == 5
