"""Memory and pace of ``edge-demist enrich``: ``python -m benchmarks.enrich`` (writes ``benchmarks/results/enrich.json``).

Lines with a host name each go through a pipe; the process's memory is read at every tenth, and lines out are counted.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, BinaryIO

from benchmarks import result_file
from edge_demist import EdgeDemist
from edge_demist.diagnostics import machine
from tools.spread.names import HOSTS

RESULT = result_file.RESULTS / "enrich.json"
COMMAND = [sys.executable, "-P", "-m", "edge_demist", "enrich", "--field", "query=dga", "-"]


def feed(stream: BinaryIO, lines: int) -> None:
    """Distinct names, an object a line."""
    hosts = HOSTS.read_text(encoding="utf-8").split()
    with stream:
        for i in range(lines):
            stream.write(json.dumps({"id": i, "query": f"w{i}.{hosts[i % len(hosts)]}"}).encode() + b"\n")


def measure(lines: int) -> dict[str, Any]:
    """Run it once."""
    start = time.perf_counter()
    with subprocess.Popen(COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin and process.stdout
        threading.Thread(target=feed, args=(process.stdin, lines), daemon=True).start()
        rss, count, wrong = [], 0, 0
        for line in process.stdout:
            wrong += not line.startswith(b'{"id": %d, ' % count)
            count += 1
            if count % (lines // 10) == 0:
                status = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii")
                rss.append(int(status.partition("VmRSS:")[2].split()[0]) * 1024)
        code = process.wait()
    seconds = time.perf_counter() - start
    return {
        "lines_in": lines, "lines_out": count, "out_of_order": wrong, "exit_code": code, "rss_bytes_at_each_tenth": rss,
        "seconds": round(seconds, 1), "lines_per_second": round(lines / seconds),
    }  # fmt: skip


def main() -> int:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lines", type=int, default=1_000_000)
    found = measure(parser.parse_args().lines)
    print(found)
    result_file.write(RESULT, {"enrich": found, "machine": machine.facts(), "bundle": EdgeDemist.load().bundle_id})
    return int(found["lines_out"] != found["lines_in"] or found["out_of_order"] > 0)


if __name__ == "__main__":
    sys.exit(main())
