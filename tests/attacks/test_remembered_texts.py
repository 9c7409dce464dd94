"""What strangers wrote is remembered in bounded bytes: long texts are worked out anew, with the same answer."""

from __future__ import annotations

import gc
import tracemalloc

import pytest

from edge_demist.sensor import caching
from edge_demist.sensor.detect.budget import shape
from edge_demist.sensor.detect.mapping import FieldMapping, load_rules
from edge_demist.sensor.events import origin_of
from edge_demist.sensor.incidents.observation import is_address, is_internal, observe
from edge_demist.sensor.memory import Memory
from edge_demist.sensor.public_suffix import is_shared, is_shared_parent, registrable_domain
from edge_demist.sensor.sources.json_logs import JsonRecord

COUNT, LONG = 200, 100_000


def record(text: str) -> JsonRecord:
    names = ("uid", "id.orig_h", "id.resp_h", "query", text)
    return JsonRecord({"ts": 1.7e9, **dict.fromkeys(names, text)}, f"zeek.{text}")


MAPPING = FieldMapping(load_rules(), ("dga", "dns-tunnel"))
MEMORY = Memory(None)
REMEMBERS = {
    "shape": shape,
    "domain": registrable_domain,
    "domain of registries": lambda text: registrable_domain(text, private=False),
    "shared": is_shared,
    "shared parent": is_shared_parent,
    "internal": is_internal,
    "address": lambda text: is_address(f"{text}:"),
    "origin": lambda text: origin_of(record(text), "dns.log", 0),
    "observation": lambda text: observe(record(text), 1),
    "mapping": lambda text: MAPPING.apply(record(text)),
    "client": lambda text: MEMORY.touch("example.com", text, 1, "h"),
    "string": lambda text: MEMORY.touch(text, "10.0.0.1", 1, "s"),
}


@pytest.mark.parametrize("name", sorted(REMEMBERS))
def test_long_texts_are_not_kept(name):
    act = REMEMBERS[name]
    act("warm.example")
    gc.collect()
    tracemalloc.start()
    try:
        for number in range(COUNT):
            act(f"{number}." + "a" * LONG + ".example")
        gc.collect()
        held = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert held < COUNT * LONG / 20


def test_long_and_short_texts_have_the_same_answers():
    asked = []
    length = caching.cached(8)(lambda text: asked.append(text) or len(text))
    texts = ["a", "b" * caching.LONGEST, "c" * (caching.LONGEST + 1)]
    assert [length(text) for text in texts * 2] == [len(text) for text in texts * 2]
    assert asked == [*texts, texts[2]]
