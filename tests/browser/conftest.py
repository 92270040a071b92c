"""A headless chromium at the widths of a desk, a tablet and a phone, light and dark."""

import shutil
from collections.abc import Iterator
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import Any

import pytest

SIZES = {1280: 900, 900: 1100, 390: 844}  # pixels: width and height


class Browser:
    """A page of this machine in chromium. dark: what the reader's system asks for."""

    def __init__(self, driver: Any, width: int, dark: bool) -> None:
        self.driver, self.width, self.height = driver, width, SIZES[width]
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
        metrics = {"width": width, "height": self.height, "deviceScaleFactor": 1, "mobile": width < 500}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def open(self, path: Path) -> None:
        self.driver.get("about:blank")
        self.driver.get(path.as_uri())

    def ask(self, script: str, *arguments: Any) -> Any:
        """What a piece of JavaScript returns."""
        return self.driver.execute_script(script, *arguments)

    def complaints(self) -> list[Any]:
        """Warnings and errors of the console since the last call."""
        return [entry for entry in self.driver.get_log("browser") if entry["level"] in ("WARNING", "SEVERE")]


@pytest.fixture(scope="session")
def driver() -> Iterator[Any]:
    """The browser; skips where there is none."""
    programs = [shutil.which(name) for name in ("chromium", "chromedriver")]
    if find_spec("selenium") is None or None in programs:
        pytest.skip("needs Debian's packages chromium and chromium-driver, and the Python package selenium")
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = programs[0]
    for word in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(word)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    found = webdriver.Chrome(options=options, service=webdriver.ChromeService(programs[1]))
    found.set_page_load_timeout(120)
    found.set_script_timeout(60)
    yield found
    found.quit()


@pytest.fixture(params=product(SIZES, (False, True)), ids=lambda given: f"{given[0]}-{('light', 'dark')[given[1]]}")
def browser(driver: Any, request: pytest.FixtureRequest) -> Browser:
    return Browser(driver, *request.param)
