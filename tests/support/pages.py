"""Pages of the map for tests: generated names, hostile ones among them."""

from __future__ import annotations

import numpy as np

from edge_demist.explore.legend import by_label
from edge_demist.explore.page import Points, build_page
from edge_demist.explore.places import parse_atlas
from tests.support.small_atlas import small_atlas

HOSTILE = (
    "</script><script>document.title='owned'</script>", "<img src=x onerror=alert(1)>", "\u202egnp.exe", "a" * 8192, "nul\0byte", "]]>",
    "line\nbreak", "tab\tstop", "=cmd|'/c calc'!A0", "größe.例え", "🙂.example", "\udcff\udcfe.example", "\ufeffbom.example", "&lt;b&gt;",
    "${alert(1)}", "-1+1", '"quoted,comma"', "İstanbul.example", "$data$title", "", "<!--", "javascript:alert(1)",
)  # fmt: skip


def points(count=500, seed=0, extra=HOSTILE, statuses=False, values=False):
    """Points sorted by name, with labels."""
    random = np.random.default_rng(seed)
    names = sorted({*(f"{w}{i}.example" for i, w in enumerate(random.choice(["shop", "Bank", "mail", "casino"], count))), *extra})
    n = len(names)
    labels = [str(label) for label in random.choice(["a", "b", "</script>"], n)]
    group, groups = by_label(labels)
    status = random.integers(0, 3, n).astype(np.uint8) if statuses else np.zeros(n, np.uint8)
    value = np.where(random.random(n) < 0.9, random.random(n), np.nan) if values else None
    times = random.integers(1, 100_000, n)
    return Points(names, random.random((n, 2), dtype=np.float32), group, times, status, value, "number" if values else ""), groups


def page(made, groups, title="A <title> & more"):
    """The page of points."""
    tensors, metadata = small_atlas(128)
    return build_page(made, groups, parse_atlas(metadata, tensors), title=title, legend="label", about="test")
