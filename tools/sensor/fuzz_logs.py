"""Coverage-guided fuzzing of both log parsers, the mapping, the events and the normalizers; needs ``atheris``.

    python -m tools.sensor.fuzz_logs [-runs=100000] [other options of libFuzzer]

The tokenizer is fuzzed too where a bundle is at hand.
"""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["edge_demist"]):
    from edge_demist.normalizers import NORMALIZERS, to_bytes
    from edge_demist.sensor.detect.mapping import FieldMapping, load_rules
    from edge_demist.sensor.events import Event, origin_of
    from edge_demist.sensor.sinks.formats import FORMATS, lines, syslog
    from edge_demist.sensor.sources.parser import LineParser

from tools.sensor.fake_model import ALARM_TASKS, CATEGORY_TASKS

MAPPING = FieldMapping(load_rules(), ALARM_TASKS + CATEGORY_TASKS, embeddings=True)


def one_input(data: bytes) -> None:
    """Take the input as a whole log."""
    parser = LineParser("dns.log" if len(data) % 2 else "eve.json")
    for line in data.split(b"\n"):
        record = parser.parse(line)
        if record is None or isinstance(record, str):
            continue
        origin = origin_of(record, "x.log", 0)
        found = MAPPING.apply(record)
        for mapped in [] if isinstance(found, str) else found:
            for normalize in NORMALIZERS.values():
                to_bytes(normalize(mapped.text))
            event = Event(origin, "0" * 32, mapped.field, mapped.text, "dga", "m", "good", 0.5, 0.5, 0.9)
            for name in FORMATS:
                ((_, out),) = lines([event], name)
                if out.count(b"\n") != 1 or not out.isascii():
                    raise AssertionError(out)
            syslog(event)


if __name__ == "__main__":
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
