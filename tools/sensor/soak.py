"""Runs ``watch`` for minutes at a steady rate while logs rotate; measures memory and lag.

    python -m tools.sensor.soak [--minutes 10] [--rate 200] [--dns dns.log.gz] [-o benchmarks/results/soak.json]

Fails if memory grows by more than 5 MB after warm-up, if the sensor is ever more than 15 s of log behind, or if a
record is missing at the end. With ``--fake`` the stand-in model is used, which shows the sensor's own part. Throughput is
measured by ``tools.sensor.throughput``.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from edge_demist.sensor.storage import Disk
from tools import facts

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "tests" / "data" / "logs" / "dns.log"
WARMUP_SHARE = 0.2
MAX_GROWTH_BYTES = 5_000_000
MAX_LAG_S = 15.0
"""Of log, as bytes of the mean rate: the sensor looks every half second and is measured every ten."""
ROTATE_EVERY_S = 45.0
CATCH_UP_S = 120.0
SAMPLE_EVERY_S = 2.0
FAKE = "fake"
CACHE_ENTRIES = 4096
"""Small enough to be full after the warm-up: a cache that fills is not a leak, and would hide one."""


def watch_command(model: str, *arguments: str) -> list[str]:
    """The command line of a runner; ``model`` is a bundle, empty for the default, or ``fake``."""
    module = ["-m", "tools.sensor.soak", "--child-fake"] if model == FAKE else ["-m", "edge_demist"]
    return [sys.executable, *module, "watch", *arguments, *(("--bundle", model) if model not in ("", FAKE) else ())]


def run_fake(arguments: list[str]) -> int:
    """``edge-demist`` with the stand-in model in place of the real one."""
    import edge_demist
    from edge_demist.cli import main
    from tools.sensor.fake_model import FakeModel

    class Stand:
        """Loads the stand-in."""

        @staticmethod
        def load(*_args: object, **_kwargs: object) -> FakeModel:
            """A new one."""
            return FakeModel()

    edge_demist.EdgeDemist = Stand  # type: ignore[assignment, misc]
    return main(arguments)


def names_of(path: Path) -> list[str]:
    """Query names of a Zeek dns.log, in its order: real repetition, so that the cache is tried fairly."""
    raw = path.read_bytes()
    text = (gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw).decode("utf-8", "replace")
    fields = next(line for line in text.splitlines() if line.startswith("#fields")).split("\t")[1:]
    return [line.split("\t")[fields.index("query")] for line in text.splitlines() if not line.startswith("#")]


class Writer:
    """Writes a dns.log at a rate; rotates and compresses it now and then, deletes what is old."""

    def __init__(self, folder: Path, names: list[str], rate: float) -> None:
        """Start the first file."""
        self._folder, self._names, self._rate = folder, names, rate
        self.written = self.written_bytes = 0
        self._rotated = time.monotonic()
        self._parts = 0
        self._open()

    def _open(self) -> None:
        self._log = (self._folder / "dns.log").open("a", encoding="utf-8")
        self._log.write("#separator \\x09\n#set_separator\t,\n#empty_field\t(empty)\n#unset_field\t-\n#path\tdns\n")
        self._log.write("#fields\tts\tuid\tid.orig_h\tid.orig_p\tid.resp_h\tid.resp_p\tquery\n")

    def write(self, seconds: float) -> None:
        """Write for a while, in ten portions a second."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            begin = time.monotonic()
            for _ in range(max(1, round(self._rate / 10))):
                name = self._names[self.written % len(self._names)]
                if self.written % 5 == 0:
                    name = f"u{self.written}.{name}"  # one in five was never seen before
                line = f"{time.time():.6f}\tC{self.written}\t10.0.0.1\t5353\t10.0.0.2\t53\t{name}\n"
                self._log.write(line)
                self.written += 1
                self.written_bytes += len(line)
            self._log.flush()
            time.sleep(max(0.0, 0.1 - (time.monotonic() - begin)))
        if time.monotonic() - self._rotated > ROTATE_EVERY_S:
            self._rotate()

    def _rotate(self) -> None:
        self._log.close()
        self._parts += 1
        old = self._folder / f"dns.{self._parts:04d}.log"
        (self._folder / "dns.log").rename(old)
        self._open()
        self._rotated = time.monotonic()
        before = self._folder / f"dns.{self._parts - 1:04d}.log"
        if before.exists():
            with gzip.open(before.with_name(before.name + ".gz"), "wb") as target:
                target.write(before.read_bytes())
            before.unlink()
        (self._folder / f"dns.{self._parts - 4:04d}.log.gz").unlink(missing_ok=True)

    def close(self) -> None:
        """Close the log."""
        self._log.close()


def metric(path: Path, name: str) -> float:
    """A sample of the Prometheus textfile; -1 while there is none."""
    try:
        rows = path.read_text(encoding="ascii").splitlines()
    except OSError:
        return -1.0
    return next((float(row.split()[-1]) for row in rows if row.startswith(f"edge_demist_{name} ")), -1.0)


def soak(minutes: float, rate: float, names: list[str], *, model: str) -> dict[str, object]:
    """Follow a growing log; memory of the process from outside, lag from its own metrics."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "logs").mkdir()
        metrics, summary = folder / "m.prom", folder / "summary.json"
        files = ("-o", str(folder / "e.jsonl"), "--state", str(folder / "s"), "--metrics", str(metrics), "--summary", str(summary))
        options = ("--rotate-mb", "8", "--keep", "2", "--log", "off", "--alarms-per-day", "20", "--cache-entries", str(CACHE_ENTRIES))
        child = subprocess.Popen(watch_command(model, str(folder / "logs"), *files, *options), cwd=ROOT)
        writer = Writer(folder / "logs", names, rate)
        samples: list[dict[str, float]] = []
        start = time.monotonic()
        while time.monotonic() - start < minutes * 60 and child.poll() is None:
            writer.write(SAMPLE_EVERY_S)
            pages = int(Path(f"/proc/{child.pid}/statm").read_text(encoding="ascii").split()[1])
            samples.append(
                {
                    "s": round(time.monotonic() - start, 1),
                    "rss_bytes": pages * os.sysconf("SC_PAGE_SIZE"),
                    "lag_bytes": metric(metrics, "lag_bytes"),
                }
            )
        writer.close()
        until = time.monotonic() + CATCH_UP_S
        while metric(metrics, "records_total") < writer.written and time.monotonic() < until:
            time.sleep(1.0)
        child.send_signal(signal.SIGTERM)
        code = child.wait(120)
        result = json.loads(summary.read_text(encoding="ascii"))
        return _judge(samples, result, writer, code)


def _judge(samples: list[dict[str, float]], result: dict[str, object], writer: Writer, code: int) -> dict[str, object]:
    settled = samples[int(len(samples) * WARMUP_SHARE) :]
    edge = max(1, len(settled) // 20)
    first = statistics.median(s["rss_bytes"] for s in settled[:edge])
    last = statistics.median(s["rss_bytes"] for s in settled[-edge:])
    lags = [s["lag_bytes"] for s in settled if s["lag_bytes"] >= 0]
    return {
        "seconds": samples[-1]["s"],
        "exit_code": code,
        "records_written": writer.written,
        "records_read": result["records"],
        "events": result["events"],
        "alarms": result["alarms"],
        "errors": result["errors"],
        "cache": result["cache"],
        "cache_entries_allowed": CACHE_ENTRIES,
        "bundle_id": result["bundle_id"],
        "rss_first_bytes": first,
        "rss_last_bytes": last,
        "rss_growth_bytes": last - first,
        "rss_max_bytes": max(s["rss_bytes"] for s in samples),
        "lag_p50_bytes": statistics.median(lags) if lags else None,
        "lag_max_bytes": max(lags, default=None),
        "lag_max_s": round(max(lags, default=0.0) / (writer.written_bytes / samples[-1]["s"]), 3),
        "samples": samples,
    }


def main() -> int:
    """Run and judge."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--rate", type=float, default=200.0, help="records a second")
    parser.add_argument("--dns", type=Path, default=SAMPLE, help="a Zeek dns.log to take names from")
    chosen = parser.add_mutually_exclusive_group()
    chosen.add_argument("--fake", action="store_const", const=FAKE, dest="model", default="", help="use the stand-in model")
    chosen.add_argument("--bundle", dest="model", help="a bundle other than the default one")
    parser.add_argument("-o", "--output", type=Path)
    args = parser.parse_args()
    model: str = args.model
    named = {"": "default bundle", FAKE: "stand-in"}.get(model, "given bundle")
    result = {**facts.head("tools.sensor.soak"), "model": named, "rate_per_s": args.rate}
    result["soak"] = outcome = soak(args.minutes, args.rate, names_of(args.dns), model=model)
    if args.output:
        Disk().replace_file(args.output, json.dumps(result, indent=1).encode() + b"\n")
    shown = {key: value for key, value in outcome.items() if key != "samples"}
    sys.stdout.write(json.dumps(shown, indent=2) + "\n")
    grown, behind = float(str(outcome["rss_growth_bytes"])), float(str(outcome["lag_max_s"]))
    whole = outcome["records_read"] == outcome["records_written"] and outcome["exit_code"] == 0
    return 0 if whole and grown <= MAX_GROWTH_BYTES and behind <= MAX_LAG_S else 1


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child-fake"]:
        raise SystemExit(run_fake(sys.argv[2:]))
    raise SystemExit(main())
