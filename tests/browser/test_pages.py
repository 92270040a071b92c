"""The report and the page of a net, in a real browser at three widths, light and dark."""

import time

import pytest

import caffe_compat as cc
from reproductions.runs import HERE

pytestmark = pytest.mark.browser

WIDTHS = "return [document.documentElement.scrollWidth, innerWidth]"
BROKEN = """return [...document.querySelectorAll('a[href^="#"]')].map(a => a.getAttribute('href').slice(1))
            .filter(name => !document.getElementById(name))"""
# Visible letters of a chart: their size in pixels as they are on the screen.
LETTERS = """return [...new Set([...document.querySelectorAll('.chart text')].filter(t => t.getClientRects().length)
             .map(t => (parseFloat(getComputedStyle(t).fontSize) * t.ownerSVGElement.getScreenCTM().a).toFixed(2)))]"""
COVERED = """
const inside = (a, b) => Math.min(a.right, b.right) - Math.max(a.left, b.left) > 1
                      && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 1;
return [...document.querySelectorAll('.chart svg')].filter(svg => svg.getClientRects().length).flatMap(svg => {
  const boxes = [...svg.querySelectorAll('.mark')].map(each => each.getBoundingClientRect());
  const labels = [...svg.querySelectorAll('.note')];
  const letters = labels.map(each => { const box = each.getBoundingClientRect();
    return {left: box.left, right: box.right, top: box.top + 2, bottom: box.bottom - 3}; });
  return labels.filter((each, i) => boxes.some(box => inside(letters[i], box))
                                 || letters.some((other, j) => j < i && inside(letters[i], other)))
               .map(each => svg.querySelector('title').textContent + ': ' + each.textContent);
});"""
SCROLLED = """
const scroll = [...document.querySelectorAll('.scroll')].find(each => each.scrollWidth > each.clientWidth + 40);
if (!scroll) return null;
scroll.scrollLeft = 30;
const cell = scroll.querySelector('tr:last-child > :first-child');
const found = [scroll.scrollLeft, cell.getBoundingClientRect().left - scroll.getBoundingClientRect().left,
               getComputedStyle(scroll).backgroundImage.split('linear-gradient').length - 1,
               getComputedStyle(cell).backgroundColor];
scroll.scrollLeft = 0;
return found;"""


def look(browser, path):
    """What holds for every page: it fits, it makes no noise, its anchors are there."""
    browser.open(path)
    whole, inner = browser.ask(WIDTHS)
    assert inner == browser.width and whole <= inner
    assert browser.complaints() == []
    assert browser.ask(BROKEN) == []


def check_scrolling(browser):
    """A table that scrolls keeps its first column in sight, opaque, and shows by shadows that it scrolls."""
    found = browser.ask(SCROLLED)
    if found is not None:
        moved, left, shadows, colour = found
        assert moved == 30 and abs(left) < 3 and shadows == 4
        assert colour.startswith("rgb(")  # an alpha would make it rgba
    return found


def test_the_report_fits_is_quiet_and_its_anchors_work(browser):
    look(browser, HERE / "index.html")
    for name in ("figures", "tables", "unfinished", "fig6", "table-2"):
        browser.ask("document.querySelectorAll('details').forEach(each => each.open = true)")
        browser.ask(f"document.querySelector('a[href=\"#{name}\"]').click()")
        top = browser.ask(f"return document.getElementById('{name}').getBoundingClientRect().top")
        end = browser.ask("return scrollY + innerHeight >= document.documentElement.scrollHeight - 2")
        assert -2 <= top < 60 or end
    assert browser.complaints() == []
    assert check_scrolling(browser) is not None


def test_the_page_of_methods_fits_is_quiet_and_its_anchors_are_there(browser):
    look(browser, HERE / "methods" / "index.html")
    check_scrolling(browser)


def test_the_first_screen_of_the_report_has_sentences_and_three_numbers(browser):
    browser.open(HERE / "index.html")
    lead, tiles = browser.ask("""return [document.querySelector('.lead').textContent,
        [...document.querySelectorAll('.tiles div')].map(each => each.getBoundingClientRect().bottom)]""")
    assert lead.count(". ") == 2 and lead.endswith(".")
    assert len(tiles) == 3 and max(tiles) < browser.height


def test_letters_of_charts_have_one_size_and_cover_nothing(browser):
    browser.open(HERE / "index.html")
    assert browser.ask(LETTERS) == ["12.00"]
    assert browser.ask(COVERED) == []
    beyond = browser.ask("""return [...document.querySelectorAll('.chart')].filter(each =>
        [...each.querySelectorAll('svg')].some(svg => svg.getBoundingClientRect().width > each.clientWidth + 1))
        .map(each => each.querySelector('title').textContent)""")
    assert beyond == []


@pytest.fixture
def wide_net(tmp_path):
    """The page of a net with a trunk and, in its middle, eight branches: wider than any screen here."""
    conv = 'layer {{ name: "{0}" type: "Convolution" bottom: "{1}" top: "{0}" '
    conv += "convolution_param {{ num_output: 4 kernel_size: 1 }} }}"
    text = 'name: "Wide" layer { name: "data" type: "Input" top: "data" '
    text += "input_param { shape { dim: 1 dim: 3 dim: 9 dim: 9 } } }"
    text += conv.format("stem", "data") + "".join(conv.format(f"branch{i}", "stem") for i in range(8))
    bottoms = " ".join(f'bottom: "branch{i}"' for i in range(8))
    text += f'layer {{ name: "join" type: "Concat" {bottoms} top: "join" }}' + conv.format("last", "join")
    path = tmp_path / "net.html"
    path.write_text(cc.html_page(cc.Net(cc.parse_text(text, cc.NetParameter))), encoding="utf-8")
    return path


def test_the_page_of_a_net_begins_with_its_trunk_in_view_and_scrolls_freely(browser, wide_net):
    look(browser, wide_net)
    time.sleep(0.5)  # the drawing is let go after 300 ms
    find = """const boxes = [...document.querySelectorAll('figure g')];
              const box = boxes.find(each => each.querySelector('.name').textContent == 'stem');
              const place = box.getBoundingClientRect(); return [place.left, place.right]"""
    left, right = browser.ask(find)
    assert left >= 0 and right <= browser.width
    assert abs((left + right) / 2 - browser.width / 2) < 30
    moved = browser.ask("const f = document.querySelector('figure'); f.scrollLeft = 7; return f.scrollLeft")
    assert moved == (7 if browser.ask("return document.querySelector('figure').scrollWidth > innerWidth") else 0)
    check_scrolling(browser)


def test_a_box_leads_to_its_row(browser, wide_net):
    browser.open(wide_net)
    browser.ask("""[...document.querySelectorAll('figure a')].find(a =>
        a.querySelector('.name').textContent == 'join').dispatchEvent(new MouseEvent('click', {bubbles: true}))""")
    row = browser.ask("return document.querySelector('tr:target').textContent")
    assert row.startswith("joinConcat")
