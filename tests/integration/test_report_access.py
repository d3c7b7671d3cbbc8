"""The report for all readers: on a phone, on paper, in the dark, with a screen reader, and when a run went wrong."""

import io
import unicodedata
from itertools import pairwise

import numpy as np
import pytest
from chromium import Reader, start
from PIL import Image
from pypdf import PdfReader
from report_runs import Run, draw_film, draw_plot

from quietct.ct.volume import NO_VALUE


@pytest.fixture(scope="module")
def reader():
    driver = start()
    yield Reader(driver)
    driver.quit()


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    run = Run(tmp_path_factory.mktemp("run"), noises=("mild", "strong"))
    run.plots[3].unlink()  # a missing figure is looked at, too
    return run.build()


@pytest.mark.parametrize("width", [360, 1280])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_labels_roles_and_contrast_stand_the_test_of_axe(reader, report, width, theme):
    reader.open(report, width)
    reader.js("document.documentElement.dataset.theme = arguments[0]", theme)
    reader.js("for (const one of document.querySelectorAll('details')) one.open = true")
    assert reader.axe() == []
    assert reader.complaints() == []


def test_headings_are_in_order_and_landmarks_are_there(reader, report):
    reader.open(report)
    levels = reader.js("return [...document.querySelectorAll('h1,h2,h3,h4')].map((h) => Number(h.tagName[1]))")
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    for tag in ("header", "nav", "main", "footer"):
        assert len(reader.all(tag)) == 1
    assert reader.js("return document.documentElement.lang") == "en"


def test_the_first_tab_leads_past_the_navigation(reader, report):
    from selenium.webdriver import ActionChains

    reader.open(report)
    ActionChains(reader.driver).send_keys("\ue004").perform()
    assert reader.js("return document.activeElement.className") == "skip"
    box = reader.js("const b = document.activeElement.getBoundingClientRect(); return [b.left, b.top]")
    assert min(box) >= 0
    ActionChains(reader.driver).send_keys("\n").perform()
    assert reader.js("return document.activeElement.id") == "main"


def test_everything_that_can_be_pressed_shows_when_it_has_the_focus(reader, report):
    from selenium.webdriver import ActionChains

    reader.open(report)
    keys = ActionChains(reader.driver)
    for _ in range(12):
        keys.send_keys("\ue004").perform()
        assert reader.js("return getComputedStyle(document.activeElement).outlineStyle") == "solid"


@pytest.mark.parametrize("width", [360, 768])
def test_a_narrow_page_does_not_scroll_sideways_but_the_table_does(reader, report, width):
    reader.open(report, width)
    assert reader.js("return document.documentElement.scrollWidth") <= width
    assert reader.js("const s = document.querySelector('#measures .scroll'); return s.scrollWidth > s.clientWidth")


def test_paper_has_all_panels_open_details_and_no_controls(reader, report, tmp_path):

    reader.open(report)
    pages = PdfReader(io.BytesIO(reader.pdf())).pages
    assert len(pages) > 1
    # Browsers print ligatures: fi is one letter then.
    text = unicodedata.normalize("NFKC", "\n".join(page.extract_text() for page in pages))
    assert "fraction: 0.1" in text  # the config is open
    assert "median filter" in text
    assert "whole slice" not in text  # a button
    assert reader.all("details[open]") == []  # closed again
    reader.devtools("Emulation.setEmulatedMedia", media="print")
    reader.frame()
    assert not reader.find(".tools").is_displayed()
    assert reader.find(".panel canvas").is_displayed()
    assert reader.grey(".panel canvas", 0.75, 0.5) > 90
    reader.devtools("Emulation.setEmulatedMedia", media="")


def test_readers_who_want_calm_get_slow_films(reader, report):
    reader.open(report)
    reader.devtools("Emulation.setEmulatedMedia", features=[{"name": "prefers-reduced-motion", "value": "reduce"}])
    reader.js(
        "window.waits = []; const set = setInterval; setInterval = (f, ms) => { waits.push(ms); return set(f, ms); }"
    )
    reader.find(".play").click()
    assert reader.js("return window.waits") == [1000]
    reader.devtools("Emulation.setEmulatedMedia", features=[])


def test_a_failed_method_is_shown_as_no_value(reader, tmp_path):
    run = Run(tmp_path)
    run.volumes["mild", "median"][:] = NO_VALUE
    failed = run.summary["method"] == "median"
    run.summary.loc[failed, ["psnr_db", "ssim", "rmse_hu", "bias_hu", "psnr_lung_db", "ssim_lung"]] = None
    run.summary.loc[failed, "notes"] = "the method failed on 5 of 5 slices"
    reader.open(run.build())
    reader.choose("#view-pair", "denoised difference")
    reader.find(".panel[data-method='median'] canvas").send_keys("\ue012")
    reader.wait("document.getElementById('hu-readout').textContent")
    assert "denoised no value · clean 40 HU" in reader.find("#hu-readout").text
    reader.find("tr[data-method='median'] .gap").send_keys("\n")
    assert reader.find("#reason").text.endswith("the method failed on 5 of 5 slices")
    first = reader.find("#summary thead tr:nth-child(2) th:nth-child(2) button")
    for _ in range(2):  # empty cells stay last
        first.send_keys("\n")
        assert reader.all("#summary tbody tr")[-1].get_attribute("data-method") == "median"
    assert reader.complaints() == []


def test_a_run_without_baselines_figures_films_and_benchmarks_says_what_is_missing(reader, tmp_path):
    run = Run(tmp_path, baselines=(), shape=(1, 64, 64))
    run.left_out = {"bm3d": "The baseline bm3d is left out."}
    for path in [*run.plots, *run.films, *(tmp_path / "benchmarks").rglob("*.tsv")]:
        path.unlink()
    run.summary["psnr_db"] = float("inf")
    run.path_of("mild", "small-sgd-seed1").unlink(missing_ok=True)
    del run.volumes["mild", "small-sgd-seed1"]
    reader.open(run.build())
    text = reader.find("main").text
    assert "no statistical comparison" in text
    assert "benchmark files of this run are not there" in text
    assert "This run has no contact-sheet.png" in text
    assert "no animation" in text
    assert "The baseline bm3d is left out." in text
    assert "∞" in text
    assert reader.find(".panel[data-method='small-sgd-seed1'] .missing").is_displayed()
    assert len(reader.all("#view-slice option")) == 1
    reader.find("#summary .sort").send_keys("\n")
    assert reader.complaints() == []


def save_sparse(path, slices):
    """Write 200 slices, of which those that the report can show are given; the others take no place on the disk."""
    volume = np.lib.format.open_memmap(path, mode="w+", dtype=np.int16, shape=(200, *slices.shape[1:]))
    volume[[100, 50, 149]] = slices


def test_two_hundred_slices_two_noises_and_eleven_methods_stay_under_15_mb(reader, tmp_path):
    baselines = ("gaussian", "median", "bilateral", "nl_means", "tv", "wavelet", "bm3d", "one", "two")
    run = Run(tmp_path, noises=("mild", "strong"), baselines=baselines, shape=(3, 512, 512))
    run.shape = (200, 512, 512)
    run.save = save_sparse
    # Noise alone is the worst that can be embedded.
    random = np.random.default_rng(0)
    for key in run.volumes:
        run.volumes[key] = random.normal(0, 60, (3, 512, 512)).round().astype(np.int16)
    noise = Image.fromarray(random.integers(0, 255, (1200, 1600), dtype=np.uint8))
    for path in run.plots:
        draw_plot(path, (1600, 800))
        if path.stem in ("contact-sheet", "nodules"):
            noise.save(path)
    for path in run.films:
        draw_film(path, 20, (776, 304))
    report = run.build()
    print(f"{report.stat().st_size / 1e6:.2f} MB")
    assert report.stat().st_size < 15_000_000
    reader.open(report)
    assert "too large" in reader.find("#slices").text
    assert len(reader.all("#view-slice option")) >= 1
    assert reader.complaints() == []
