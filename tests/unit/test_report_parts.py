"""Slices, films and facts of the report, without a browser."""

import base64
import io
import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageDraw

from quietct.ct.volume import NO_VALUE
from quietct.report.facts import duration, series_facts, stage_rows
from quietct.report.pictures import load_film, load_films, load_plot, plot_kind
from quietct.report.slices import Volumes, embed_slices, encode_hu, shown_slices, size_of


def picture(uri):
    return Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))


def write_volumes(folder, shape, noises=("mild",), methods=("median",), series=("one",)):
    random = np.random.default_rng(0)
    paths = {}
    for name in [*series, *(f"{n}-{m}-{s}" for n in noises for m in ["noisy", *methods] for s in series)]:
        paths[name] = folder / f"{name}.npy"
        np.save(paths[name], random.integers(-1000, 1000, shape).astype(np.int16))
    info = folder / "info.json"
    info.write_text(json.dumps({"z_mm": list(range(shape[0]))}))
    return Volumes(
        noises, methods, series, [info] * len(series), [paths[s] for s in series],
        [paths[f"{n}-noisy-{s}"] for n in noises for s in series],
        [paths[f"{n}-{m}-{s}"] for n in noises for m in methods for s in series],
    )  # fmt: skip


PREVIEW = {"slice": None, "zoom": {"row": 20, "column": 30, "size": 40}}


def test_a_slice_is_opaque_and_keeps_its_hu_between_the_ends():
    hu = np.array([[-2000, -1024, -1], [0, 3071, 4000], [NO_VALUE, 40, 255]], np.int16)
    image = picture(encode_hu(hu).uri)
    assert image.mode == "RGB"
    red, green, blue = np.moveaxis(np.asarray(image).astype(int), 2, 0)
    codes = 256 * red + green
    expected = [[0, 0, 1023], [1024, 4095, 4095], [65535, 1064, 1279]]
    assert codes.tolist() == expected
    assert not blue.any()


def test_the_checksum_tells_exchanged_pixels():
    one, other = (encode_hu(np.array([row], np.int16)).check for row in ([1, 2], [2, 1]))
    assert one == 1025 * 1 + 1026 * 2
    assert one != other


def test_volumes_are_found_by_noise_method_and_series(tmp_path):
    volumes = write_volumes(tmp_path, (1, 8, 8), ("a", "b"), ("x", "y"), ("s", "t"))
    assert {name: path.stem for name, path in volumes.images("b", "t").items()} == {
        "noisy": "b-noisy-t", "x": "b-x-t", "y": "b-y-t",
    }  # fmt: skip


def test_the_preview_slice_comes_first_and_no_slice_twice(tmp_path):
    volumes = write_volumes(tmp_path, (9, 8, 8), series=("s", "t"))
    slices = list(shown_slices(volumes, None, 7))
    assert slices[0] == ("s", 7)
    assert ("t", 2) in slices[:3]
    assert len(set(slices)) == len(slices)


def test_only_held_out_slices_are_shown(tmp_path):
    volumes = write_volumes(tmp_path, (12, 8, 8))
    assert {index for _, index in shown_slices(volumes, {"every": 4}, None)} <= {0, 4, 8}


def test_slices_stay_within_their_room_and_the_page_says_what_is_left_out(tmp_path):
    volumes = write_volumes(tmp_path, (5, 96, 128))
    views, notes = embed_slices(volumes, None, PREVIEW, 10**9)
    assert (len(views), notes) == (3, [])
    room = int(1.5 * size_of(views[0]))
    views, notes = embed_slices(volumes, None, PREVIEW, room)
    assert len(views) == 1
    assert "too large" in notes[0]


def test_a_slice_that_is_too_large_is_cut_around_the_square_of_the_preview(tmp_path):
    volumes = write_volumes(tmp_path, (1, 200, 200))
    full = size_of(embed_slices(volumes, None, PREVIEW, 10**9)[0][0])
    views, notes = embed_slices(volumes, None, PREVIEW, full // 4)
    crop = views[0].crop
    assert size_of(views[0]) <= full // 4
    assert 80 <= crop.rows <= 100
    assert crop.row <= 20
    assert crop.row + crop.rows >= 60
    assert crop.column <= 30
    assert crop.column + crop.columns >= 70
    assert "cut to" in notes[0]
    target = np.load(volumes.targets[0])[0, crop.row : crop.row + crop.rows, crop.column : crop.column + crop.columns]
    pixels = np.asarray(picture(views[0].target.uri)).astype(int)
    np.testing.assert_array_equal(256 * pixels[..., 0] + pixels[..., 1] - 1024, target)


def test_an_image_that_is_missing_or_has_another_shape_is_left_out(tmp_path):
    volumes = write_volumes(tmp_path, (2, 64, 64), methods=("x", "y", "z"))
    volumes.images("mild", "one")["x"].unlink()
    np.save(volumes.images("mild", "one")["y"], np.zeros((2, 8, 8), np.int16))
    views, _ = embed_slices(volumes, None, PREVIEW, 10**9)
    assert set(views[0].pictures["mild"]) == {"noisy", "z"}


def draw_film(path):
    frames = []
    for k in range(3):
        frame = Image.new("L", (90, 40), 30)
        ImageDraw.Draw(frame).rectangle([30, 10, 39 + 10 * k, 29], fill=220)
        frames.append(frame)
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=120, loop=0)


def test_a_film_keeps_its_frames_and_only_what_changes_in_them(tmp_path):
    draw_film(tmp_path / "film.gif")
    film = load_film(tmp_path / "film.gif", "net-sgd-seed1", 90, 1.0)
    assert (film.width, film.height, film.frame_ms) == (90, 40, 120)
    assert film.box == (40, 10, 20, 20)
    left = [np.asarray(picture(uri).convert("L"))[10, 5] for uri in film.patches]
    assert left[0] < 60
    assert left[1] > 190


def test_films_that_do_not_fit_are_made_smaller_or_left_out_and_named(tmp_path):
    draw_film(tmp_path / "film.gif")
    gifs = {"net-sgd-seed1": tmp_path / "film.gif", "net-dilated-seed1": tmp_path / "none.gif"}
    films, notes = load_films(gifs, 10**6)
    assert [film.method for film in films] == ["net-sgd-seed1"]
    assert "no animation" in notes[0]
    films, notes = load_films(gifs, 100)
    assert films == []
    assert "left out" in notes[1]


def test_a_plot_has_words_with_the_numbers_of_its_methods(tmp_path):
    Image.new("RGB", (300, 100), "white").save(tmp_path / "cost-net.png")
    rows = pd.DataFrame({"method": ["net-sgd-seed1", "median"], "network": ["net", None], "psnr_db": [31.26, 20.0]})
    plot = load_plot(tmp_path / "cost-net.png", rows, "mild")
    assert (plot.width, plot.height) == (300, 100)
    assert plot.alt.startswith("Cost and validation PSNR, net for noise mild. ")
    assert plot.alt.endswith("net · gradient descent (seed 1): PSNR 31.3 dB.")


def test_a_missing_plot_is_a_gap_in_words(tmp_path):
    plot = load_plot(tmp_path / "noise-power.png", pd.DataFrame())
    assert plot.uri == ""
    assert plot.caption == "This run has no noise-power.png, so there is nothing to show."


def test_kinds_are_told_by_whole_words():
    assert plot_kind("cost-compact") == "cost"
    assert plot_kind("costly") == ""
    assert plot_kind("calibration-scanner_1") == "calibration"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0 s"), (59.9, "59.9 s"), (59.96, "1 min 0 s"), (3599.7, "1 h 0 min"), (4321, "1 h 12 min")],
)
def test_times_are_written_for_people(seconds, text):
    assert duration(seconds) == text


def test_stages_are_written_for_people(tmp_path):
    for name, text in {
        "train/mild/a.tsv": "s\tmax_rss\n10\t100\n",
        "train/mild/b.tsv": "s\tmax_rss\n20\t300.4\n",
        "fetch/x.tsv": "s\tmax_rss\n1\t-\n",
        "fetch/y.tsv": "",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    train, fetch = stage_rows(tmp_path)
    assert train[:5] == ("train", 2, "30.0 s", "20.0 s", "300")
    assert fetch[:5] == ("fetch", 1, "1.0 s", "1.0 s", "—")
    assert stage_rows(tmp_path / "none") == []


def test_series_are_described_without_anything_that_tells_who(tmp_path):
    info = {"kvp": 120.0, "kernel": "B40f", "series_instance_uid": "1.2.3", "series_description": "Mrs X", "model": "M"}
    (tmp_path / "one.json").write_text(json.dumps(info))
    sheet = [
        {"series": "one", "role": "test", "target": ["two"], "origin": "directory"},
        {"series": "two", "role": "apply", "target": [], "origin": "phantom"},
    ]
    one, two = series_facts(sheet, {"one": tmp_path / "one.json"})
    assert (one.scanner, one.kernel, one.kvp, one.exposure, one.target) == ("M", "B40f", "120", "—", "two")
    assert "1.2.3" not in str(one)
    assert "Mrs" not in str(one)
    assert two.size == "—"
