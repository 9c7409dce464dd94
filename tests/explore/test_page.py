"""The page as a file: its layout read back, its policy, its size; what is in it is what was given."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import re
import zlib

import numpy as np
import pytest
from support.pages import HOSTILE, page, points

from edge_demist.explore.legend import by_label, by_number
from edge_demist.explore.page import MAX_GROUPS, MAX_NAME_BYTES, cut_name


def read_back(html):
    """The block as page.py describes it: header, columns by name, names."""
    raw = re.search(rb'<script id="data" type="application/octet-stream">([A-Za-z0-9+/=]*)</script>', html)[1]
    block = zlib.decompress(base64.b64decode(raw))
    size = int.from_bytes(block[:4], "little")
    head, at, n = json.loads(block[4 : 4 + size]), 4 + size, json.loads(block[4 : 4 + size])["count"]
    columns = {}
    for name in ("x", "y", "group", "value", "times", "status", "length"):
        width = 1 if name == "status" else 2
        raw = np.frombuffer(block[at : at + width * n], np.uint8)
        columns[name] = raw if width == 1 else raw[:n].astype(int) * 256 + raw[n:]
        at += width * n
    ends = at + np.cumsum(columns["length"])
    names = [block[end - length : end] for end, length in zip(ends, columns["length"], strict=True)]
    assert ends[-1] == len(block)
    return head, columns, names


def test_what_is_in_the_page_is_what_was_given():
    made, groups = points(statuses=True, values=True)
    head, columns, names = read_back(page(made, groups))
    assert names == [cut_name(name) for name in made.names]
    assert np.abs(np.stack([columns["x"], columns["y"]], 1) / 65535 - made.places).max() < 1 / 65535
    assert (columns["group"] == made.group).all()
    assert (columns["status"] == made.status).all()
    assert (columns["times"] == np.minimum(made.times, 65535)).all()
    known = np.isfinite(made.value)
    assert ((columns["value"] == 65535) == ~known).all()
    back = head["low"] + (head["high"] - head["low"]) * columns["value"] / 65534
    assert np.abs(back - made.value)[known].max() < 1e-4
    assert [group["count"] for group in head["groups"]] == np.bincount(made.group).tolist()


def test_the_same_points_give_the_same_bytes():
    made, groups = points()
    assert page(made, groups) == page(*points())
    assert page(dataclasses.replace(made, times=made.times + 1), groups) != page(made, groups)


def test_only_the_named_script_and_style_may_run():
    html = page(*points()).decode()
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', html)[1]
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    for tag, source in (("script", "script-src"), ("style", "style-src")):
        text = re.findall(rf"<{tag}>(.*?)</{tag}>", html, re.DOTALL)
        assert len(text) == 1
        digest = base64.b64encode(hashlib.sha256(text[0].encode()).digest()).decode()
        assert f"{source} 'sha256-{digest}'" in policy
    assert "unsafe" not in policy
    assert not re.search(r"""(?:src|href)\s*=\s*["']?(?!x )""", re.sub(r"<script.*?</script>", "", html, flags=re.DOTALL))


def test_names_and_titles_never_become_markup():
    html = page(*points()).decode()
    assert html.count("<script") == 2
    assert html.count("</script") == 2
    assert "<title>A &lt;title&gt; &amp; more</title>" in html
    for name in HOSTILE[:2]:
        assert name not in html


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_is_valid_text_of_bounded_length(name):
    raw = cut_name(name)
    assert len(raw) <= MAX_NAME_BYTES
    assert raw.decode()[:10] == name.encode("utf-8", "backslashreplace").decode()[:10]
    assert cut_name("é" * 400).decode().endswith("é…")


def test_a_hundred_thousand_names_fit():
    random = np.random.default_rng(0)
    syllables = np.array(["ka", "lo", "mi", "ru", "shop", "bank", "web", "mail", "tech", "data", "go", "to", "ne", "xi", "pa"])
    parts = syllables[random.integers(0, len(syllables), (100_000, 4))]
    names = sorted({"".join(row) + f"{i % 997}.com" for i, row in enumerate(parts)})
    made, groups = points(0, extra=())
    group, groups = by_label([""] * len(names), "names")
    n = len(names)
    places = random.random((n, 2), dtype=np.float32)
    made = dataclasses.replace(made, names=names, places=places, group=group, times=np.ones(n, np.int64), status=np.zeros(n, np.uint8))
    assert len(page(made, groups)) / n < 25


def test_labels_beyond_the_legend_share_an_entry():
    labels = [f"label {i}" for i in range(300) for _ in range(300 - i)] + [""] * 5
    group, groups = by_label(labels)
    assert len(groups) == MAX_GROUPS
    assert [g.name for g in groups[-2:]] == ["102 others", "no label"]
    assert sum(g.count for g in groups) == len(labels)
    assert (np.bincount(group) == [g.count for g in groups]).all()
    assert [g.count for g in groups[:3]] == [300, 299, 298]


def test_numbers_become_ranges():
    values = np.concatenate([np.linspace(0, 1, 701), [np.nan] * 9])
    group, groups = by_number(values)
    assert groups[-1].name == "no value"
    assert (np.bincount(group, minlength=len(groups)) == [g.count for g in groups]).all()
    assert sum(g.count for g in groups) == 710
    assert all(95 < g.count < 106 for g in groups[:-1])
    assert (np.diff(group[:701].astype(int)) >= 0).all()
    for odd in (np.full(5, np.nan), np.full(5, 3.0), np.array([1.0, np.nan])):
        group, groups = by_number(odd, "time")
        assert (np.bincount(group, minlength=len(groups)) == [g.count for g in groups]).all()
