"""The page in headless Chromium, offline and without a GPU: what it shows, finds and selects is what numpy says."""

from __future__ import annotations

import csv
import io
import json
import re

import numpy as np
import pytest
from support import browser
from support.pages import HOSTILE, page, points

from edge_demist.explore.page import cut_name

pytestmark = pytest.mark.skipif(browser.find() is None, reason="Chromium is not installed")
SIZE = (1000, 700)


@pytest.fixture(scope="module")
def chromium():
    with browser.Browser(SIZE) as opened:
        yield opened


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    made, groups = points(3000, statuses=True, values=True)
    path = tmp_path_factory.mktemp("page") / "map.html"
    path.write_bytes(page(made, groups))
    return path, made


@pytest.fixture
def opened(chromium, made):
    chromium.call("Page.navigate", url="about:blank")
    chromium.requests.clear()
    chromium.dialogs.clear()
    chromium.open(made[0])
    return chromium


def shown_name(name):
    return cut_name(name).decode()


def test_nothing_is_asked_for_but_the_file(opened, made):
    opened.settled()
    assert [url for url in opened.requests if url != "about:blank"] == [made[0].as_uri()]
    assert opened.dialogs == []
    assert opened.js("document.title") == "A <title> & more"


def test_names_arrive_whole(opened, made):
    names = opened.js("Array.from({length: state.data.n}, (_, i) => nameOf(state.data, i))")
    assert names == [shown_name(name) for name in made[1].names]
    assert opened.js("Array.from(state.data.times)") == np.minimum(made[1].times, 65535).tolist()


@pytest.mark.parametrize("query", ["shop", "BANK1", ".example", "0", "</script>", "例え", "🙂", "İ", "\0", "e.", "zzz", "n\nb", "a" * 40])
def test_search_finds_what_python_finds(opened, made, query):
    fold = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz")
    expected = [i for i, name in enumerate(made[1].names) if query.translate(fold) in shown_name(name).translate(fold)]
    assert opened.js(f"search(state.data, {json.dumps(query)}, false)") == expected


@pytest.mark.parametrize("pattern", [r"^bank\d+\.example$", r"(shop|mail)1", r"ß|例", r"^$"])
def test_regular_expressions_find_what_python_finds(opened, made, pattern):
    expected = [i for i, name in enumerate(made[1].names) if re.search(pattern, shown_name(name), re.IGNORECASE | re.DOTALL)]
    assert opened.js(f"search(state.data, {json.dumps(pattern)}, true)") == expected


def test_typing_a_search_fills_the_list_and_the_address(opened, made):
    opened.key("/", "/")
    for letter in "casino1":
        opened.key(letter, letter)
    opened.settled()
    expected = [shown_name(n) for n in made[1].names if "casino1" in shown_name(n).lower()]
    assert opened.js("Array.from(document.querySelectorAll('#list li'), (li) => li.textContent)") == expected[:200]
    assert opened.js("location.hash").find("q=casino1") > 0
    assert f"{len(expected)} names found" in opened.js("document.getElementById('count').textContent").replace(",", "")


def test_a_wrong_expression_is_told(opened):
    opened.js("document.getElementById('regex').checked = true; document.getElementById('query').value = '('; find()")
    assert opened.js("document.getElementById('query').validationMessage") != ""
    assert opened.dialogs == []


def screen(opened, i):
    """Where row i is on the page, in CSS pixels."""
    return opened.js(
        f"(() => {{ const b = el('stage').getBoundingClientRect(), [x, y] = toScreen(state.data.x[{i}], state.data.y[{i}]);"
        "return [b.left + x / ratio, b.top + y / ratio]; })()"
    )


def test_the_hovered_name_is_the_nearest(opened, made):
    steps = np.rint(made[1].places.astype(float) * 65535)
    for row in (10, 700, 2500):
        x, y = screen(opened, row)
        opened.mouse("mouseMoved", x=x + 1, y=y + 1)
        wx, wy = opened.js(
            f"(() => {{const b = el('stage').getBoundingClientRect(); return toWorld({x + 1} - b.left, {y + 1} - b.top)}})()"
        )
        nearest = int(((steps - (wx, wy)) ** 2).sum(1).argmin())
        assert opened.js("document.getElementById('tip').hidden") is False
        assert opened.js("document.getElementById('tip').textContent") == shown_name(made[1].names[nearest])[:300]


def within(places, polygon):
    """Even-odd rule, written with numpy."""
    inside = np.zeros(len(places), bool)
    for (ax, ay), (bx, by) in zip(polygon, np.roll(polygon, 1, axis=0), strict=True):
        crosses = (ay > places[:, 1]) != (by > places[:, 1])
        with np.errstate(divide="ignore", invalid="ignore"):
            inside ^= crosses & (places[:, 0] < (bx - ax) * (places[:, 1] - ay) / (by - ay) + ax)
    return np.flatnonzero(inside)


def test_a_lasso_selects_what_lies_inside_and_saves_it(opened, made):
    opened.js("window.kept = null; { const old = inside; inside = (...a) => { window.kept = a[1]; return old(...a); }; }")
    path = [(300, 200), (520, 230), (560, 480), (400, 420), (280, 500)]
    opened.mouse("mousePressed", *path[0], button="left", buttons=1, modifiers=8, clickCount=1)
    for x, y in path[1:]:
        opened.mouse("mouseMoved", x, y, button="left", buttons=1, modifiers=8)
    opened.mouse("mouseReleased", *path[-1], button="left", modifiers=8, clickCount=1)
    opened.settled()
    polygon = np.array(opened.js("window.kept"))
    expected = within(np.rint(made[1].places.astype(float) * 65535), polygon)
    assert len(polygon) == len(path)
    assert 20 < len(expected) < 2000
    assert opened.js("state.chosen") == expected.tolist()
    rows = list(csv.reader(io.StringIO(opened.js("csv(state.data, listed().rows)"), newline="")))
    assert rows[0] == ["name", "group", "value", "times", "status", "x", "y"]
    assert [row[0].removeprefix("'") for row in rows[1:]] == [shown_name(made[1].names[i]).removeprefix("'") for i in expected]


def test_a_spreadsheet_runs_no_name(opened, made):
    rows = [i for i, name in enumerate(made[1].names) if name[:1] in ("=", "-", "\t", "+", "@")]
    saved = list(csv.reader(io.StringIO(opened.js(f"csv(state.data, {rows})"), newline="")))[1:]
    assert rows
    assert all(row[0].startswith("'") for row in saved)


def test_hostile_names_harm_nothing(opened, made):
    for name in HOSTILE:
        if name:
            row = made[1].names.index(name)
            opened.js(f"choose({row}, true)")
            opened.js("fillList()")
            assert opened.js("document.querySelector('#detail bdi').textContent") == shown_name(name)
    opened.settled()
    assert opened.js("document.title") == "A <title> & more"
    assert opened.js("document.querySelectorAll('#list img, #detail img, #legend script').length") == 0
    assert opened.dialogs == []
    assert [url for url in opened.requests if url != "about:blank"] == [made[0].as_uri()]


def test_an_inline_script_put_into_the_page_does_not_run(opened):
    opened.js("{const s = document.createElement('script'); s.textContent = 'window.ran = 1'; document.body.append(s)}")
    assert opened.js("window.ran ?? 0") == 0
    opened.js("{const i = document.createElement('img'); i.src = 'http://192.0.2.1/x'; document.body.append(i)}")
    opened.settled()
    assert opened.js("document.images[0].naturalWidth") == 0


def drawn(opened):
    """Number of pixels that are not empty, and the sum of all."""
    return opened.js(
        "(() => { draw(); const d = el('points').getContext('2d').getImageData(0, 0, el('points').width, el('points').height).data;"
        "let n = 0, sum = 0; for (let i = 3; i < d.length; i += 4) { if (d[i]) n++; sum += d[i]; } return [n, sum]; })()"
    )


def test_the_legend_switches_groups_off(opened):
    before = drawn(opened)
    opened.js("document.querySelector('#legend input').click()")
    after = drawn(opened)
    opened.js("document.getElementById('none').click()")
    assert before[0] > after[0] > 0
    assert drawn(opened) == [0, 0]
    opened.settled()
    assert "off=" in opened.js("location.hash")


def test_keys_move_and_zoom_and_the_list_follows(opened):
    opened.js("el('stage').focus()")
    start = opened.js("[view.x, view.zoom]")
    opened.key("ArrowRight")
    opened.key("+", "+")
    moved = opened.js("[view.x, view.zoom]")
    assert moved[0] > start[0]
    assert moved[1] == pytest.approx(start[1] + 0.5)
    opened.key("0", "0")
    assert opened.js("[view.x, view.zoom]") == pytest.approx(start)
    opened.settled()
    opened.js("el('list').focus()")
    opened.key("ArrowDown")
    first = opened.js("document.querySelector('#list [aria-selected=\"true\"]').textContent")
    opened.key("ArrowDown")
    assert (
        opened.js("document.querySelector('#list [aria-selected=\"true\"]').textContent") != first
        or opened.js("el('list').children.length") < 2
    )


def test_the_wheel_zooms_where_the_pointer_is(opened):
    place = opened.js("(() => { const b = el('stage').getBoundingClientRect(); return toWorld(200 - b.left, 300 - b.top); })()")
    opened.mouse("mouseWheel", 200, 300, deltaX=0, deltaY=-300)
    opened.settled()
    after = opened.js("(() => { const b = el('stage').getBoundingClientRect(); return toWorld(200 - b.left, 300 - b.top); })()")
    assert after == pytest.approx(place, abs=2)
    assert opened.js("view.zoom") > 0.5


def test_a_permalink_brings_the_view_back(chromium, made):
    chromium.call("Page.navigate", url="about:blank")
    chromium.open(made[0], "#x=20000&y=30000&z=2.5&q=mail&off=1&i=5")
    assert chromium.js("[view.x, view.y, view.zoom, el('query').value, state.on[1], state.active]") == [20000, 30000, 2.5, "mail", 0, 5]
    chromium.call("Page.navigate", url="about:blank")
    chromium.open(made[0], "#x=NaN&y=1e99&z=-Infinity&off=__proto__.999&i=-7&q=%E2%80%AE")
    assert chromium.js("[view.y, view.zoom, state.active]") == [65536, pytest.approx(chromium.js("state.data.head.start.zoom")), -1]
    assert chromium.dialogs == []


def test_new_names_glow_and_gone_ones_fade(opened, made):
    alone = """(() => {{
        const keep = state.data.status, canvas = el("points");
        state.data.status = keep.map(() => {});
        draw();
        state.data.status = keep;
        const bytes = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
        return bytes.reduce((sum, value, i) => (i % 4 === 3 ? sum + value : sum), 0);
    }})()"""
    both, new, gone = (opened.js(alone.format(status)) for status in (0, 1, 2))
    assert new > both > gone > 0
    row = int(np.flatnonzero(made[1].status == 2)[0])
    assert opened.js(f"describe({row})").endswith("gone")


def test_light_and_dark(opened):
    before = opened.js("getComputedStyle(document.body).backgroundColor")
    opened.js("document.getElementById('theme').click()")
    assert opened.js("getComputedStyle(document.body).backgroundColor") != before


def test_no_names_at_all(chromium, tmp_path):
    made, groups = points(0, extra=())
    path = tmp_path / "empty.html"
    path.write_bytes(page(made, groups))
    chromium.open(path)
    assert "0 names" in chromium.js("document.getElementById('count').textContent")
