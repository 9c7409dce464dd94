"""What incidents cost: processor time of ``watch --emit incidents`` beside ``--emit alarms``, and memory over many records and clients.

    python -m tools.sensor.incident_load names.txt -o benchmarks/results/incident-load.json

``names.txt`` holds distinct host names, one a line. Both forms read the same dns.log, in turns, each in a process of its own; processor
time counts, not the clock, for the machine may be busy. Memory is that of a ``watch`` with a state folder that reads generated
look-ups, connections and requests from a pipe. That takes an hour for ten million records; ``--rounds 0`` measures it alone, ``--records``
without a number the times alone; what is not measured stays as the output file holds it.
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
from collections.abc import Iterator
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
            out.write(f"{T0 + i * 0.5:.6f}\tC{i}\t{client}\t5353\t10.0.0.53\t53\tudp\t{name}\tA\tNOERROR\t{answer}\n")


def processor_seconds(log: Path, emit: str, bundle: Path | None) -> float:
    """User and system time of one run."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "edge_demist", "watch", str(log), "--once", "--emit", emit, "--log", "off", "--no-explain"]
    command += ["-o", str(log.with_name(f"{emit}.jsonl")), *(["--bundle", str(bundle)] if bundle else [])]
    subprocess.run(command, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def generated_records(count: int, clients: int) -> Iterator[bytes]:
    """Zeek JSON of look-ups, connections and requests by so many clients, five hundred a second of log time."""
    draw = random.Random(1)
    for i in range(count):
        number, kind = draw.randrange(clients), draw.random()
        head = f'"ts":{T0 + i * 0.002:.3f},"id.orig_h":"10.{number >> 16}.{number >> 8 & 255}.{number & 255}","id.orig_p":5353'
        if kind < 0.6:
            name = f"h{draw.randrange(1000)}.dom{draw.randrange(200_000)}.com" if kind > 0.01 else f"{draw.getrandbits(64):x}.com"
            rest = f'"dns","id.resp_h":"10.0.0.53","id.resp_p":53,"query":"{name}","qtype_name":"A","rcode_name":"{_rcode(kind)}"'
        elif kind < 0.9:
            server = f"93.{draw.randrange(200)}.{draw.randrange(250)}.{draw.randrange(250)}"
            end = '"S0"' if kind < 0.65 else '"SF","orig_bytes":300,"resp_bytes":1000'
            rest = f'"conn","id.resp_h":"{server}","id.resp_p":443,"proto":"tcp","conn_state":{end}'
        else:
            name, uri = f"w{draw.randrange(50)}.dom{draw.randrange(200_000)}.com", f"/a{draw.randrange(10**6)}"
            rest = f'"http","id.resp_h":"93.184.1.1","id.resp_p":80,"host":"{name}","uri":"{uri}","method":"GET","user_agent":"x"'
        yield f'{{{head},"_path":{rest}}}\n'.encode()


def _rcode(kind: float) -> str:
    return "NXDOMAIN" if kind < 0.03 else "NOERROR"


def memory_by_records(marks: list[int], clients: int, bundle: Path | None, folder: Path) -> dict[str, float]:
    """Resident mebibytes of ``watch --emit incidents --state`` when it has taken so many records from a pipe."""
    command = [sys.executable, "-m", "edge_demist", "watch", "-", "--once", "--emit", "incidents", "--log", "off"]
    command += ["--state", str(folder / "state"), "-o", str(folder / "incidents.jsonl"), "--summary", str(folder / "summary.json")]
    command += ["--bundle", str(bundle)] if bundle else []
    found: dict[str, float] = {}
    with subprocess.Popen(command, stdin=subprocess.PIPE, env={**os.environ, "OMP_NUM_THREADS": "1"}) as process:
        assert process.stdin is not None
        for number, record in enumerate(generated_records(max(marks), clients), 1):
            process.stdin.write(record)
            if number in marks:
                process.stdin.flush()
                found[str(number)] = _resident_mib(process.pid)
                print(f"{number:,} records: {found[str(number)]} MiB", file=sys.stderr, flush=True)
        process.stdin.close()
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    if process.returncode or summary["records"] != max(marks):
        raise SystemExit(f"watch ended with {process.returncode} after {summary['records']} of {max(marks)} records")
    return found


def _resident_mib(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return round(int(status.split("VmRSS:")[1].split()[0]) / 1024, 1)


def times(path: Path, count: int, rounds: int, bundle: Path | None) -> dict[str, object]:
    """Processor seconds of both forms on so many names, in turns."""
    names = list(dict.fromkeys(path.read_text(encoding="utf-8").split()))[:count]
    seconds: dict[str, list[float]] = {"alarms": [], "incidents": []}
    with tempfile.TemporaryDirectory(prefix="load-") as folder:
        log = Path(folder) / "dns.log"
        write_log(log, names)
        for _ in range(rounds):
            for emit, runs in seconds.items():
                runs.append(round(processor_seconds(log, emit, bundle), 2))
                print(f"{emit}: {runs[-1]} s", file=sys.stderr)
    ratios = sorted(a / b for a, b in zip(seconds["alarms"], seconds["incidents"], strict=True))
    return {"names": len(names), "processor_s": seconds, "incidents_to_alarms": round(ratios[len(ratios) // 2], 3)}


def main() -> None:
    """Measure, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", type=Path, nargs="?", help="distinct host names, one a line; not read with --rounds 0")
    parser.add_argument("--bundle", type=Path)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--records", type=int, nargs="*", default=[100_000, 1_000_000, 10_000_000])
    parser.add_argument("--clients", type=int, default=100_000)
    parser.add_argument("-o", "--output", type=Path, required=True)
    args = parser.parse_args()
    result = json.loads(args.output.read_text(encoding="utf-8")) if args.output.exists() else {}
    if args.rounds:
        result |= times(args.names, args.count, args.rounds, args.bundle)
    if args.records:
        with tempfile.TemporaryDirectory(prefix="load-") as folder:
            result["memory_mib"] = memory_by_records(args.records, args.clients, args.bundle, Path(folder))
        result["clients"] = args.clients
    result["load_average"] = os.getloadavg()[0]
    args.output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
