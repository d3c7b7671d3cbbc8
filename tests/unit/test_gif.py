"""The animations, read back with Pillow."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
from PIL import Image

from quietct.errors import UserError
from quietct.figures import gif as gif_module
from quietct.figures.gif import Panel, draw_frame, fitting_fonts, render_scroll_gif, render_training_gif

WINDOW = (-1000, 1000)
SIZE = 128


def frames_of(path):
    """Give every frame as grey values (rows, columns), and the times in ms."""
    frames, times = [], []
    with Image.open(path) as film:
        for index in range(film.n_frames):
            film.seek(index)
            frames.append(np.asarray(film.convert("L")))
            times.append(film.info["duration"])
    return frames, times


def panels_of(frame, rows=SIZE):
    """Cut a frame into its caption strip and three panels."""
    strip, body = frame[:-rows], frame[-rows:]
    pitch = SIZE + gif_module.GAP_PX
    return strip, [body[:, start : start + SIZE] for start in (0, pitch, 2 * pitch)]


def grey(hu):
    return 255 * (hu - WINDOW[0]) / (WINDOW[1] - WINDOW[0])


@pytest.fixture
def snapshots(tmp_path):
    """Write four snapshots: flat images of -500, 0, 250, 500 HU; noisy -600, clean 600."""
    images = np.ones((4, 64, 64), np.int16) * np.array([-500, 0, 250, 500], np.int16)[:, None, None]
    flat = np.ones((64, 64), np.int16)
    path = tmp_path / "snapshots.npz"
    psnr_db = np.array([5.0, 11.0, 15.0, 26.0])
    np.savez(path, epochs=np.array([0, 1, 5, 20]), images=images, noisy=-600 * flat, clean=600 * flat, psnr_db=psnr_db)
    return path


def train_film(snapshots, gif, **changes):
    rules = {"noise": "weak", "window_hu": WINDOW, "frame_ms": 200, "size_px": SIZE, **changes}
    render_training_gif(snapshots, gif, "chen2017-dilated-seed1", **rules)
    return frames_of(gif)


def test_a_training_film_has_a_frame_a_snapshot_and_holds_the_last(snapshots, tmp_path):
    frames, times = train_film(snapshots, tmp_path / "t.gif")
    assert len(frames) == 4
    assert times[:3] == [200] * 3
    assert times[3] >= 1000
    assert {frame.shape for frame in frames} == {(frames[0].shape[0], 3 * SIZE + 2 * gif_module.GAP_PX)}


def test_panels_show_noisy_output_and_clean_in_the_window(snapshots, tmp_path):
    frames, _ = train_film(snapshots, tmp_path / "t.gif")
    for frame, output in zip(frames, (-500, 0, 250, 500), strict=True):
        _, panels = panels_of(frame)
        # To a grey level, of which there are 128.
        for panel, hu in zip(panels, (-600, output, 600), strict=True):
            np.testing.assert_allclose(panel, grey(hu), atol=1.5)


def test_captions_are_there_change_with_the_epoch_and_cover_no_anatomy(snapshots, tmp_path):
    frames, _ = train_film(snapshots, tmp_path / "t.gif")
    strips = [panels_of(frame)[0] for frame in frames]
    pitch = SIZE + gif_module.GAP_PX
    for strip in strips:
        for start in (0, pitch, 2 * pitch):
            assert (strip[strip.shape[0] // 2 :, start : start + SIZE] > 200).any(), "a panel has no caption"
    for one, two in itertools.pairwise(strips):
        assert (one[:, pitch : pitch + SIZE] != two[:, pitch : pitch + SIZE]).any()
        np.testing.assert_array_equal(one[:, :SIZE], two[:, :SIZE])


def test_the_captions_say_untrained_epoch_and_psnr(snapshots, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(gif_module, "write_film", lambda path, frames, title, *rest: seen.extend([title, *frames]))
    render_training_gif(snapshots, tmp_path / "t.gif", "chen2017-dilated-seed1", "weak", WINDOW, 200, SIZE)
    title, *frames = seen
    assert title == "chen2017 · dilated (seed 1), noise weak, window −1000 to 1000 HU"
    assert [panels[1].caption for panels in frames] == [
        "untrained, 5.0 dB",
        "epoch 1 of 20, 11.0 dB",
        "epoch 5 of 20, 15.0 dB",
        "epoch 20 of 20, 26.0 dB",
    ]
    # 1200 HU off in a window of 2000.
    assert frames[0][0].caption == "noisy, 4.4 dB"


def test_long_titles_and_captions_shrink_until_they_fit():
    panel = Panel(np.zeros((8, 8)), "epoch 1000 of 1000, 26.0 dB")
    fonts = fitting_fonts([[panel] * 3], "a title that is rather long for panels as small as these are", SIZE)
    assert fonts.caption.getlength(panel.caption) <= SIZE
    frame = draw_frame([panel] * 3, "", WINDOW, SIZE, 64, fonts)
    assert (np.asarray(frame.convert("L"))[:, SIZE : SIZE + gif_module.GAP_PX] == 0).all(), "text runs into the gap"


def test_a_slice_keeps_its_proportions():
    panel = Panel(np.zeros((32, 64)), "x")
    frame = draw_frame([panel], "", WINDOW, SIZE, 64, fitting_fonts([[panel]], "", SIZE))
    assert frame.size[0] == SIZE
    assert (np.asarray(frame.convert("L"))[-SIZE // 2 :] > 100).all()


def test_a_file_without_snapshots_is_refused(tmp_path):
    np.savez(tmp_path / "s.npz", epochs=np.arange(3))
    with pytest.raises(UserError, match=r"s\.npz"):
        train_film(tmp_path / "s.npz", tmp_path / "t.gif")


@pytest.fixture
def series(tmp_path):
    """Write a series of 60 flat slices, darkest first, with noise, and its denoised twin 100 HU too bright."""
    clean = np.ones((60, 64, 64), np.int16) * np.linspace(-800, 700, 60).astype(np.int16)[:, None, None]
    noisy = clean + np.random.default_rng(0).normal(0, 200, clean.shape).astype(np.int16)
    for name, volume in (("clean", clean), ("noisy", noisy), ("image", clean + np.int16(100))):
        np.save(tmp_path / f"{name}.npy", volume)
    (tmp_path / "info.json").write_text(json.dumps({"z_mm": (-2.5 * np.arange(60)).tolist()}))
    return tmp_path


def scroll_film(series, name="s.gif", **changes):
    rules = {"noise": "weak", "series": "a.1", "window_hu": WINDOW, "frame_ms": 100, "size_px": SIZE, **changes}
    paths = [series / file for file in ("clean.npy", "info.json", "noisy.npy", "image.npy")]
    render_scroll_gif(*paths, series / name, method="tv", **rules)
    return series / name


def test_a_scroll_spreads_its_frames_over_the_whole_series(series):
    frames, _ = frames_of(scroll_film(series))
    assert len(frames) == gif_module.MAX_SCROLL_FRAMES
    shown = [panels_of(frame)[1] for frame in frames]
    clean = [panels[2].mean() for panels in shown]
    assert clean[0] == pytest.approx(grey(-800), abs=1.5)
    assert clean[-1] == pytest.approx(grey(700), abs=1.5)
    assert max(abs(np.diff(clean) - np.diff(clean).mean())) < 5
    # The middle panel is the denoised one: 100 HU brighter than the clean one.
    assert np.mean([panels[1].mean() - panels[2].mean() for panels in shown]) == pytest.approx(12.75, abs=1)
    assert shown[0][0].std() > 5


def test_scroll_captions_say_position_and_psnr(series, monkeypatch):
    seen = []
    monkeypatch.setattr(gif_module, "write_film", lambda path, frames, *rest: seen.extend(frames))
    scroll_film(series)
    assert seen[0][1].caption == "denoised, 26.0 dB"
    assert seen[-1][2].caption == "clean, z −147.5 mm"


def test_a_film_of_noise_stays_below_the_limit(series, monkeypatch):
    monkeypatch.setattr(gif_module, "MAX_BYTES", 250_000)
    path = scroll_film(series)
    assert 50_000 < path.stat().st_size <= 250_000
    assert len(frames_of(path)[0]) == gif_module.MAX_SCROLL_FRAMES


def test_the_same_input_gives_the_same_bytes(series):
    assert scroll_film(series, "a.gif").read_bytes() == scroll_film(series, "b.gif").read_bytes()


def test_volumes_of_different_shape_are_refused(series):
    np.save(series / "image.npy", np.zeros((3, 64, 64), np.int16))
    with pytest.raises(UserError, match=r"image\.npy"):
        scroll_film(series)


def test_a_target_that_is_not_clean_is_called_what_it_is(series, snapshots, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(gif_module, "write_film", lambda path, frames, *rest: seen.extend(frames))
    scroll_film(series, target_label="target")
    assert len(seen) == gif_module.MAX_SCROLL_FRAMES
    assert all(panels[2].caption.startswith("target, z ") for panels in seen)
    seen.clear()
    render_training_gif(snapshots, tmp_path / "t.gif", "a-sgd-seed1", "weak", WINDOW, 200, SIZE, target_label="target")
    assert {panels[2].caption for panels in seen} == {"target"}


def test_a_scroll_of_a_split_shows_the_held_out_slices_alone(series, monkeypatch):
    seen = []
    monkeypatch.setattr(gif_module, "write_film", lambda path, frames, *rest: seen.extend(frames))
    scroll_film(series, split={"every": 10, "width": 2})
    # From 0 to -147.5 mm, 2.5 mm apart: -25, -22.5, -50 and so on.
    heights = [float(panels[2].caption.split()[2].replace("−", "-")) for panels in seen]
    assert heights == [0.0, -22.5, -25.0, -47.5, -50.0, -72.5, -75.0, -97.5, -100.0, -122.5, -125.0, -147.5]
