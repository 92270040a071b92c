"""The site as it is built, served from this machine: every page at three widths, light and dark."""

import functools
import http.server
import os
import subprocess
import sys
import threading
from importlib.util import find_spec

import pytest

from tests.browser.test_pages import BROKEN, WIDTHS
from tests.conftest import ROOT

pytestmark = pytest.mark.browser

CLEAR = "Storage.clearDataForOrigin"  # else the scheme of an earlier visit stays
ELSEWHERE = """return performance.getEntriesByType('resource').map(each => each.name)
               .filter(name => !name.startsWith(location.origin))"""
SCROLLING = """
const wide = [...document.querySelectorAll('.md-typeset__scrollwrap')]
             .filter(each => each.scrollWidth > each.clientWidth + 40);
return wide.slice(0, 3).map(scroll => {
  scroll.scrollLeft = 30;
  const cell = scroll.querySelector('tbody tr:last-child > :first-child');
  return [scroll.scrollLeft, cell.getBoundingClientRect().left - scroll.getBoundingClientRect().left,
          getComputedStyle(scroll).backgroundImage.split('linear-gradient').length - 1,
          getComputedStyle(cell).backgroundColor];
});"""


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *words):
        pass


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    """(address, pages) of the site, built and served until the tests end."""
    if find_spec("mkdocs") is None:
        pytest.skip("the site needs the extra [docs]")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "-q", "-f", str(ROOT / "mkdocs.yml"), "-d", str(folder)]
    subprocess.run(command, check=True, timeout=300, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    pages = sorted(str(path.parent.relative_to(folder)) for path in folder.rglob("index.html"))
    yield f"http://127.0.0.1:{server.server_port}/", [f"{page}/".removeprefix("./") for page in pages]
    server.shutdown()
    server.server_close()


def test_every_page_fits_is_quiet_and_asks_nothing_of_other_hosts(browser, site):
    address, pages = site
    assert len(pages) > 15
    for page in pages:
        browser.driver.get("about:blank")
        browser.driver.execute_cdp_cmd(CLEAR, {"origin": address.rstrip("/"), "storageTypes": "all"})
        browser.driver.get(address + page)
        whole, inner = browser.ask(WIDTHS)
        assert inner == browser.width and whole <= inner, page
        assert browser.complaints() == [] and browser.ask(BROKEN) == [] and browser.ask(ELSEWHERE) == [], page
        dark = browser.ask("return matchMedia('(prefers-color-scheme: dark)').matches")
        assert browser.ask("return document.body.getAttribute('data-md-color-scheme')") == (
            "slate" if dark else "default"
        )
        for moved, left, shadows, colour in browser.ask(SCROLLING):
            assert moved > 0 and abs(left) < 3 and shadows == 4 and colour.startswith("rgb("), page


def test_a_search_leads_to_a_page(browser, site):
    address, _ = site
    browser.driver.get(address + "?q=torchrun")
    found = """const done = arguments[0]; const look = () => {
        const link = document.querySelector('.md-search-result__link');
        link ? done(link.href) : setTimeout(look, 100); };
        look();"""
    assert "/how-to/train/" in browser.driver.execute_async_script(found)
