"""What incidents cost: processor time of ``watch --emit incidents`` beside ``--emit alarms``, and memory over many records and clients.

    python -m tools.sensor.incident_load names.txt -o benchmarks/results/incident-load.json

``names.txt`` holds distinct host names, one a line. Both forms read the same dns.log, in turns, each in a process of its own; processor
time counts, not the clock, for the machine may be busy. Memory is that of one process with the tracker alone, fed with generated
look-ups, connections and requests.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

T0 = 1_700_000_000
HEADER = (
    "#separator \\x09\n#set_separator\t,\n#empty_field\t(empty)\n#unset_field\t-\n#path\tdns\n"
    "#fields\tts\tuid\tid.orig_h\tid.orig_p\tid.resp_h\tid.resp_p\tproto\tquery\tqtype_name\trcode_name\tanswers\n"
    "#types\ttime\tstring\taddr\tport\taddr\tport\tenum\tstring\tstring\tstring\tvector[string]\n"
)


def write_log(path: Path, names: list[str]) -> None:
    """A dns.log that asks for each name once, two a second, by 800 clients."""
    with path.open("w", encoding="utf-8") as out:
        out.write(HEADER)
        for i, name in enumerate(names):
            client, answer = f"10.0.{i % 4}.{i % 200 + 1}", f"93.184.{i % 250}.{i // 250 % 250}"
            out.write(f"{T0 + i * 0.5:.3f}\tC{i}\t{client}\t5353\t10.0.0.53\t53\tudp\t{name}\tA\tNOERROR\t{answer}\n")


def processor_seconds(log: Path, emit: str, bundle: Path | None) -> float:
    """User and system time of one run."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "edge_demist", "watch", str(log), "--once", "--emit", emit, "--log", "off", "--no-explain"]
    command += ["-o", str(log.with_name(f"{emit}.jsonl")), *(["--bundle", str(bundle)] if bundle else [])]
    subprocess.run(command, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def memory_by_records(marks: list[int], clients: int) -> dict[int, float]:
    """Resident mebibytes after so many records of so many clients."""
    from edge_demist.sensor.incidents.observation import Observation
    from edge_demist.sensor.incidents.tracker import Tracker
    from edge_demist.sensor.incidents.weights import load_weights
    from edge_demist.sensor.metrics import rss_bytes

    tracker, draw, found = Tracker(load_weights(), "load"), random.Random(1), {}
    for i in range(max(marks)):
        number, kind = draw.randrange(clients), draw.random()
        client, time_us = f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", (T0 * 1000 + i * 2) * 1000
        if kind < 0.6:
            name = f"h{draw.randrange(1000)}.dom{draw.randrange(200_000)}.com"
            levels = {"dga": 1} if kind < 0.01 else {}
            seen = Observation("dns", time_us, client, "10.0.0.53", 53, name, kind < 0.03, levels=levels)
        elif kind < 0.9:
            server = f"93.{draw.randrange(200)}.{draw.randrange(250)}.{draw.randrange(250)}"
            seen = Observation("flow", time_us, client, server, 443, "", kind < 0.65, "tcp", bytes_in=1000)
        else:
            name = f"w{draw.randrange(50)}.dom{draw.randrange(200_000)}.com"
            seen = Observation("http", time_us, client, "93.184.1.1", 80, name, uri=f"/a{draw.randrange(10**6)}", method="GET", agent="x")
        tracker.add(seen)
        if i % 256 == 255:
            tracker.release(time_us)
        if i + 1 in marks:
            found[i + 1] = round(rss_bytes() / 2**20, 1)
            print(f"{i + 1:,} records: {found[i + 1]} MiB", file=sys.stderr)
    return found


def main() -> None:
    """Measure, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", type=Path, help="distinct host names, one a line")
    parser.add_argument("--bundle", type=Path)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--records", type=int, nargs="+", default=[100_000, 10_000_000])
    parser.add_argument("--clients", type=int, default=100_000)
    parser.add_argument("-o", "--output", type=Path, required=True)
    args = parser.parse_args()
    names = list(dict.fromkeys(args.names.read_text(encoding="utf-8").split()))[: args.count]
    seconds: dict[str, list[float]] = {"alarms": [], "incidents": []}
    with tempfile.TemporaryDirectory(prefix="load-") as folder:
        log = Path(folder) / "dns.log"
        write_log(log, names)
        for _ in range(args.rounds):
            for emit, runs in seconds.items():
                runs.append(round(processor_seconds(log, emit, args.bundle), 2))
                print(f"{emit}: {runs[-1]} s", file=sys.stderr)
    ratios = sorted(a / b for a, b in zip(seconds["alarms"], seconds["incidents"], strict=True))
    result = {"names": len(names), "processor_s": seconds, "incidents_to_alarms": round(ratios[len(ratios) // 2], 3) if ratios else None}
    result["memory_mib"] = {str(n): mib for n, mib in memory_by_records(args.records, args.clients).items()}
    result |= {"clients": args.clients, "load_average": os.getloadavg()[0]}
    args.output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
