"""The report as its reader meets it, in Chromium."""

import numpy as np
import pytest
from chromium import Reader, start
from report_runs import Run


@pytest.fixture(scope="module")
def driver():
    driver = start()
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    run = Run(tmp_path_factory.mktemp("run"), noises=("mild", "strong"), title="A <script>alert(1)</script> title")
    run.verdict = {
        "headline": "The networks beat the filters.",
        "sentences": {"mild": ["One.", "Two."], "strong": ["Three."]},
    }
    run.build()
    return run


@pytest.fixture
def page(driver, run):
    reader = Reader(driver).open(run.folder / "report.html")
    yield reader
    assert reader.complaints() == []


def test_the_page_tells_what_was_run_and_takes_texts_as_texts(page):
    assert page.find("h1").text == "A <script>alert(1)</script> title"
    assert page.find(".headline").text == "The networks beat the filters."
    text = page.js("return document.body.textContent")
    assert "ACME One" in text
    assert "1 min 16 s" in text
    assert "fraction: 0.1" in text
    assert "1.2.3.4.5" not in text
    assert "Secret" not in text


def test_a_heading_sorts_the_table_both_ways_and_by_keyboard(page):
    def column(k):
        return page.js(
            "const value = (row) => Number(row.cells[arguments[0]].dataset.value);"
            "return [...document.querySelectorAll('#summary tbody tr')].map(value)",
            k,
        )

    heading = page.all("#summary thead tr:nth-child(2) th")[2]
    assert heading.text.startswith("PSNR (dB)")
    assert "window −160 to 240 HU" in heading.text
    assert "data range 400 HU" in heading.text
    button = heading.find_element("css selector", "button")
    button.click()
    assert heading.get_attribute("aria-sort") == "descending"
    assert column(2) == sorted(column(2), reverse=True)
    button.send_keys("\n")
    assert heading.get_attribute("aria-sort") == "ascending"
    assert column(2) == sorted(column(2))


def test_a_noise_and_groups_of_columns_can_be_chosen(page):
    page.choose("#table-noise", "strong")
    noises = page.js(
        "return [...document.querySelectorAll('#summary tbody tr:not([hidden])')].map((row) => row.dataset.noise)"
    )
    assert noises == ["strong"] * 5
    page.all(".table-group")[0].click()
    assert not any("RMSE" in text for text in page.texts("#summary thead th"))


def test_an_empty_cell_tells_its_reason_by_keyboard(page):
    page.find("#summary .gap").send_keys("\n")
    assert "the target is free of noise" in page.find("#reason").text


def test_every_pixel_is_read_back_with_its_hu(page, run):
    page.choose("#view-noise", "1")
    page.wait("document.getElementById('viewer').dataset.ready === '0-1'")
    page.js(
        "window.codes = {}; const all = {...JSON.parse(document.getElementById('hu-0-target').textContent),"
        "...JSON.parse(document.getElementById('hu-0-1').textContent)};"
        "const read = async ([name, one]) => { window.codes[name] = [...(await decodeHu(one)).codes]; };"
        "Promise.all(Object.entries(all).map(read))"
        ".then(() => { window.done = true; });"
    )
    page.wait("window.done")
    codes = page.js("return window.codes")
    assert set(codes) == {"target", "noisy", *run.methods}
    for name, values in codes.items():
        volume = run.volumes["target" if name == "target" else ("strong", name)]
        np.testing.assert_array_equal(np.array(values) - 1024, np.clip(volume[2].ravel(), -1024, 3071))
    assert not page.find("#view-warning").is_displayed()


def grey_of(hu, centre, width):
    """Grey of a HU in a window; halves are rounded up, as in browsers."""
    return int(255 * np.clip((hu - (centre - width / 2)) / width, 0, 1) + 0.5)


def test_window_presets_and_own_windows_change_the_grey_of_all_panels(page, run):
    page.choose("#view-pair", "noisy target")
    canvases = [f".panel[data-method='{method}'] canvas" for method in run.methods]
    for centre, width, preset in [(-600, 1500, 2), (40, 400, 3), (400, 1800, 4)]:
        page.all(".preset")[preset - 1].click()
        assert page.all(".preset")[preset - 1].get_attribute("aria-pressed") == "true"
        expected = grey_of(40, centre, width)
        assert [page.grey(canvas, 0.75, 0.5) for canvas in canvases] == [expected] * len(canvases)
    page.set("#view-centre", 40)
    page.set("#view-width", 80)
    assert {page.grey(canvas, 0.75, 0.5) for canvas in canvases} == {128}


def test_the_divider_decides_which_image_is_seen(page, run):
    slider = ".panel[data-method='median'] .divider"
    page.find("#view-together").click()
    page.choose("#view-pair", "noisy target")
    page.set(slider, 0)
    canvas = ".panel[data-method='median'] canvas"
    assert page.grey(canvas, 0.25, 0.5) == 128  # the target, 40 HU, in the window of 40 ± 200
    page.set(slider, 100)
    noisy = int(run.volumes["mild", "noisy"][2, 32, 16])
    assert page.grey(canvas, 0.258, 0.508) == grey_of(noisy, 40, 400)
    assert page.find(".panel[data-method='gaussian'] .divider").get_attribute("value") == "50"
    page.find("#view-together").click()
    page.find(slider).send_keys("\ue012")  # arrow left
    assert page.find(".panel[data-method='gaussian'] .divider").get_attribute("value") == "99"


def test_zoom_and_keys_move_all_panels_and_tell_the_hu(page, run):
    page.find("#zoom-in").click()
    assert page.find("#zoom-value").text == "1.5×"
    canvas = page.find(".panel[data-method='median'] canvas")
    canvas.send_keys("+")
    assert page.find("#zoom-value").text == "1.9×"
    canvas.send_keys("\ue014")  # arrow right: from the middle, row 32, column 32, to column 33
    method, noisy = run.volumes["mild", "median"][2, 32, 33], run.volumes["mild", "noisy"][2, 32, 33]
    expected = f"noisy {noisy} · denoised {method} · clean 40 HU".replace("-", "−")
    page.wait("document.getElementById('hu-readout').textContent")
    assert page.find("#hu-readout").text == f"Row 32, column 33, median filter: {expected}"
    assert len([text for text in page.texts(".values") if "clean 40 HU" in text]) == len(run.methods)
    canvas.send_keys("0")
    assert page.find("#zoom-value").text == "1×"


def test_the_pointer_reads_the_same_pixel_in_every_panel(page):
    from selenium.webdriver import ActionChains

    canvas = page.find(".panel[data-method='gaussian'] canvas")
    size = canvas.size["width"]
    move = ActionChains(page.driver).move_to_element_with_offset(canvas, int(-size / 2 + 3), int(-size / 2 + 3))
    move.perform()
    page.frame()
    assert all("clean ≤ −1024 HU" in text for text in page.texts(".values"))


def test_differences_have_a_scale_of_their_own(page, run):
    page.choose("#view-pair", "denoised difference")
    assert page.find("#scale").is_displayed()
    page.frame()
    assert [one.text for one in page.all(".panel[data-method='median'] .side") if one.is_displayed()] == ["difference"]
    page.set("#view-limit", 10)
    assert page.find("#scale-high").text == "+10 HU"
    row, column = (index[0] for index in np.nonzero(run.volumes["mild", "median"][2] - run.volumes["target"][2] >= 10))
    canvas = ".panel[data-method='median'] canvas"
    assert page.grey(canvas, (column + 0.5) / 64, (row + 0.5) / 64) == 103  # the darkest red of the scale


def test_films_stand_still_until_played_and_stop_when_asked(page):
    assert page.texts(".frame-number")[0] == "4 of 4"
    assert page.all(".film canvas") == []
    button = page.find(".play")
    button.click()
    page.wait("['2 of 4', '3 of 4'].includes(document.querySelector('.frame-number').textContent)")
    button.click()
    assert button.text == "Play"
    stopped = page.texts(".frame-number")[0]
    page.js("window.later = false; setTimeout(() => { window.later = true; }, 700)")
    page.wait("window.later")
    assert page.texts(".frame-number")[0] == stopped
    assert len(page.all(".film canvas")) == 1


def test_dark_mode_is_chosen_and_remembered(page, run):
    light = page.js("return getComputedStyle(document.body).backgroundColor")
    button = page.find("#theme")
    button.click()
    assert button.get_attribute("aria-pressed") == "true"
    assert page.js("return getComputedStyle(document.body).backgroundColor") != light
    page.open(run.folder / "report.html")
    assert page.find("#theme").get_attribute("aria-pressed") == "true"
    page.find("#theme").click()
