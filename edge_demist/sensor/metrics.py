"""Metrics in Prometheus' text format, as a file for node_exporter's textfile collector or on a local endpoint."""

from __future__ import annotations

import os
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from edge_demist.errors import InputError
from edge_demist.io import replace_file
from edge_demist.sensor.counters import Counts

LATENCY_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0)
_PREFIX = "edge_demist_"
_SUMS = {
    "records": "Records read.",
    "records_out": "Records that gave an event.",
    "strings": "Strings taken from records.",
    "predictions": "Answers of specialists.",
    "screened": "Answers of stage one alone.",
    "events": "Events written.",
    "errors": "Errors.",
}


@dataclass(slots=True)
class Histogram:
    """Counts by bucket, for one quantity in seconds."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(LATENCY_BUCKETS_S) + 1))
    total: float = 0.0

    def observe(self, seconds: float, times: int = 1) -> None:
        """Add an observation ``times`` times."""
        self.counts[bisect_left(LATENCY_BUCKETS_S, seconds)] += times
        self.total += seconds * times


@dataclass(slots=True)
class Gauges:
    """What is measured beside the counters."""

    lag_bytes: int = 0
    lag_seconds: float = 0.0
    cache_hits: int = 0
    cache_misses: int = 0
    cache_entries: int = 0
    open_files: int = 0
    commits: int = 0
    repeats_dropped: int = 0
    disk_trouble: int = 0
    reloads: Mapping[str, int] = field(default_factory=dict)
    alarms: Mapping[str, int] = field(default_factory=dict)
    thresholds: Mapping[str, float] = field(default_factory=dict)
    drift: Mapping[str, float] = field(default_factory=dict)
    sample: Mapping[str, float] = field(default_factory=dict)
    bundle_id: str = ""


def rss_bytes() -> int:
    """Resident memory of this process (Linux)."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def _escape(value: str) -> str:
    safe = value.encode("ascii", "backslashreplace").decode("ascii")
    return safe.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _family(name: str, kind: str, help_text: str, samples: Iterable[tuple[Mapping[str, str], float]]) -> list[str]:
    rows = [f"# HELP {_PREFIX}{name} {help_text}", f"# TYPE {_PREFIX}{name} {kind}"]
    for labels, value in samples:
        inside = ",".join(f'{key}="{_escape(text)}"' for key, text in labels.items())
        rows.append(f"{_PREFIX}{name}{'{' + inside + '}' if inside else ''} {value:.17g}")
    return rows


def render(total: Counts, gauges: Gauges, latency: Histogram) -> str:
    """All metrics in the text exposition format, version 0.0.4."""
    plain = (
        *((f"{name}_total", "counter", text, getattr(total, name)) for name, text in _SUMS.items()),
        ("repeats_dropped_total", "counter", "Events not written again after a restart.", gauges.repeats_dropped),
        ("cache_hits_total", "counter", "Answers from the cache.", gauges.cache_hits),
        ("cache_misses_total", "counter", "Answers from the model.", gauges.cache_misses),
        ("commits_total", "counter", "Checkpoints written.", gauges.commits),
        ("disk_trouble_total", "counter", "Waits for a disk that would not take data.", gauges.disk_trouble),
        ("cache_entries", "gauge", "Answers held.", gauges.cache_entries),
        ("open_files", "gauge", "Log files held open.", gauges.open_files),
        ("lag_bytes", "gauge", "Bytes written to logs and not yet read.", gauges.lag_bytes),
        ("lag_seconds", "gauge", "Age of the oldest record read last, while behind.", gauges.lag_seconds),
        ("resident_memory_bytes", "gauge", "Resident memory.", rss_bytes()),
    )
    rows = [row for name, kind, text, value in plain for row in _family(name, kind, text, [({}, float(value))])]
    by = (
        ("skipped_total", "counter", "Records without an event, by reason.", "reason", total.skipped),
        ("suppressed_total", "counter", "Verdicts over their threshold that gave no alarm, by reason.", "reason", total.suppressed),
        ("alarms_total", "counter", "Alarms.", "task", gauges.alarms),
        ("alarm_threshold", "gauge", "Alarm score from which alarms are given.", "task", gauges.thresholds),
        ("score_drift", "gauge", "Population stability index of this week's scores against the first week's.", "task", gauges.drift),
        ("reloads_total", "counter", "Reloads, by outcome.", "outcome", gauges.reloads),
    )
    for name, kind, text, label, table in by:
        rows += _family(name, kind, text, [({label: key}, float(value)) for key, value in sorted(table.items())])
    away = {name: value for name, value in gauges.sample.items() if name != "unknown_tokens"}
    text = "Population stability index of a sample's scores (by specialist) and host names' vectors against the bundle's own reference."
    rows += _family("reference_drift", "gauge", text, [({"of": name}, value) for name, value in sorted(away.items())])
    share = [value for name, value in gauges.sample.items() if name == "unknown_tokens"]
    rows += _family(
        "unknown_token_ratio",
        "gauge",
        "Share of the sample's tokens that the tokenizer knows only as bytes.",
        [({}, value) for value in share],
    )
    rows += _family("bundle_info", "gauge", "The bundle in use.", [({"bundle_id": gauges.bundle_id}, 1.0)])
    return "\n".join(rows + _histogram(latency)) + "\n"


def _histogram(latency: Histogram) -> list[str]:
    name = f"{_PREFIX}latency_seconds"
    rows = [f"# HELP {name} From reading a record to writing its events.", f"# TYPE {name} histogram"]
    below = 0
    for bound, count in zip((*LATENCY_BUCKETS_S, None), latency.counts, strict=True):
        below += count
        rows.append(f'{name}_bucket{{le="{"+Inf" if bound is None else bound}"}} {below}')
    return [*rows, f"{name}_sum {latency.total:.17g}", f"{name}_count {below}"]


def write_textfile(path: Path, text: str) -> None:
    """Replace the file atomically, as the textfile collector asks for.

    Raises:
        OSError: it cannot be written.
    """
    replace_file(path, text.encode("ascii"), 0o644, sync=False)


def serve_local(port: int, snapshot: Callable[[], str]) -> Callable[[], None]:
    """Serve the metrics on 127.0.0.1; needs the extra ``prometheus-client``. Returns the function that ends it.

    Raises:
        InputError: prometheus-client is not installed.
        OSError: the port is taken.
    """
    try:
        from prometheus_client import CollectorRegistry, start_http_server
        from prometheus_client.parser import text_string_to_metric_families
    except ImportError as error:
        raise InputError("--metrics-port needs prometheus-client: pip install 'edge-demist[metrics]'") from error

    class _Snapshot:
        def collect(self) -> Iterable[object]:
            yield from text_string_to_metric_families(snapshot())

    registry = CollectorRegistry()
    registry.register(_Snapshot())
    server, thread = start_http_server(port, addr="127.0.0.1", registry=registry)

    def close() -> None:
        server.shutdown()
        server.server_close()
        thread.join(5.0)

    return close
