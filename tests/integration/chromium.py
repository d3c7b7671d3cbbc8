"""A report in a real browser without a window, driven as a reader would."""

import base64
import json
import shutil
import time

import pytest

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
INSTALL = "Chromium is missing: apt-get install chromium chromium-driver; pip install selenium"


def start():
    """Start Chromium; skip where it is not installed."""
    if not (CHROMIUM and DRIVER):
        pytest.skip(INSTALL)
    webdriver = pytest.importorskip("selenium.webdriver", reason=INSTALL)
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for word in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"):
        options.add_argument(word)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    return webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))


class Reader:
    """What a reader does with a report."""

    def __init__(self, driver):
        self.driver = driver

    def open(self, path, width=1280, height=900):
        self.resize(width, height)
        self.driver.get_log("browser")
        self.driver.get_log("performance")
        self.driver.get(path.as_uri())
        self.wait("!document.getElementById('viewer') || document.getElementById('viewer').dataset.ready")
        return self

    def resize(self, width, height=900):
        phone = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
        self.devtools("Emulation.setDeviceMetricsOverride", **phone)

    def devtools(self, command, **words):
        return self.driver.execute_cdp_cmd(command, words)

    def js(self, code, *words):
        return self.driver.execute_script(code, *words)

    def wait(self, condition, seconds=15):
        end = time.monotonic() + seconds
        while not self.js(f"return Boolean({condition})"):
            assert time.monotonic() < end, f"never true: {condition}"
            time.sleep(0.05)

    def find(self, selector):
        return self.driver.find_element("css selector", selector)

    def all(self, selector):
        return self.driver.find_elements("css selector", selector)

    def texts(self, selector):
        return [element.text for element in self.all(selector)]

    def choose(self, selector, value):
        from selenium.webdriver.support.select import Select

        Select(self.find(selector)).select_by_value(value)

    def set(self, selector, value):
        """Give an input a value, as typing or dragging does."""
        self.js(
            "const e = document.querySelector(arguments[0]); e.value = arguments[1];"
            "e.dispatchEvent(new Event('input', {bubbles: true}));",
            selector, str(value),
        )  # fmt: skip

    def frame(self):
        """Wait until the next picture is drawn."""
        self.driver.execute_async_script(
            "const done = arguments[0]; requestAnimationFrame(() => requestAnimationFrame(() => done()));"
        )

    def grey(self, selector, x, y):
        """Red of a canvas at a share of its width and height."""
        self.frame()
        return self.js(
            "const c = document.querySelector(arguments[0]);"
            "return c.getContext('2d').getImageData(arguments[1] * c.width, arguments[2] * c.height, 1, 1).data[0];",
            selector, x, y,
        )  # fmt: skip

    def pdf(self):
        return base64.b64decode(self.devtools("Page.printToPDF", printBackground=True)["data"])

    def axe(self):
        """Violations of WCAG 2.1 A and AA and of good practice that axe-core finds: rule and elements."""
        from axe_core_python.base import AXE_SCRIPT

        self.js(AXE_SCRIPT)
        # Without preload: axe would ask the network for style sheets and media, of which there are none.
        found = self.driver.execute_async_script(
            "const tags = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'best-practice'];"
            "axe.run({runOnly: {type: 'tag', values: tags}, preload: false, resultTypes: ['violations']})"
            ".then(arguments[0]);"
        )
        return [(one["id"], [node["html"][:200] for node in one["nodes"]]) for one in found["violations"]]

    def complaints(self):
        """Everything that must not be: errors of the console, requests of any network, broken pictures."""
        found = [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] == "SEVERE"]
        for entry in self.driver.get_log("performance"):
            message = json.loads(entry["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                url = message["params"]["request"]["url"]
                if not url.startswith(("file:", "data:", "blob:")):
                    found.append(url)
        found += self.js(
            "const broken = (i) => !i.complete || i.naturalWidth === 0;"
            "return [...document.images].filter(broken).map((i) => `broken: ${i.alt}`)"
        )
        return found
