"""``edge-demist watch``: follow Zeek and Suricata logs and write verdicts."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from edge_demist.cli.models import add_model, load_model
from edge_demist.errors import EdgeDemistError
from edge_demist.io import printable
from edge_demist.sensor.config import WatchConfig
from edge_demist.sensor.control import Control, Log
from edge_demist.sensor.detect.alarms import Budget
from edge_demist.sensor.detect.answer_cache import DEFAULT_ENTRIES
from edge_demist.sensor.detect.scoring import DEFAULT_FPR
from edge_demist.sensor.retry import Stopped
from edge_demist.sensor.runner import Runner, exit_code
from edge_demist.sensor.sources.lines import MAX_LINE_BYTES

EXAMPLES = """examples:
  edge-demist watch /var/log/zeek --once -o events.jsonl --summary summary.json
  edge-demist watch /var/log/zeek --state /var/lib/edge-demist -o alarms.jsonl --emit alarms --alarms-per-day 20
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "watch",
        help="follow Zeek and Suricata logs, write verdicts",
        description="Follow Zeek logs (TSV or JSON) and Suricata eve.json, or folders of them; write one event a verdict.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="a log file or a folder of logs; .gz is read too")
    parser.add_argument("--once", action="store_true", help="read what is there and end")
    parser.add_argument("--emit", choices=("all", "alarms"), default="all", help="write every verdict (default) or alarms only")
    parser.add_argument("-o", "--output", type=Path, metavar="OUT", help="write here instead of standard output")
    parser.add_argument("--format", choices=("jsonl", "eve", "zeek", "parquet"), default="jsonl", help="form of the output")
    parser.add_argument("--state", type=Path, metavar="DIR", help="keep the place here; a restart goes on from it")
    parser.add_argument("--summary", type=Path, metavar="FILE", help="write counts here at the end, as JSON")
    _add_choices(parser)
    _add_limits(parser)
    parser.set_defaults(run=run)


def _add_choices(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--syslog", default="", metavar="SOCKET", help="send events to a local syslog socket (RFC 5424)")
    parser.add_argument("--mapping", type=Path, metavar="TOML", help="which field goes to which specialist")
    parser.add_argument("--allow", type=Path, action="append", default=[], metavar="TOML", help="allow-list; may be repeated")
    parser.add_argument(
        "--alarms-per-day",
        action="append",
        default=[],
        metavar="N|TASK=N",
        help="budget of alarms per 24 hours of log time, in all or for one specialist; may be repeated",
    )
    parser.add_argument("--fpr", type=float, default=DEFAULT_FPR, help="calibrated false-positive rate to start at (default 0.001)")
    parser.add_argument("--embeddings", choices=("none", "int8", "float32"), default="none", help="write vectors of certificates")
    parser.add_argument("--no-explain", action="store_true", help="leave out why an alarm was given")
    add_model(parser)
    parser.add_argument("--metrics", type=Path, metavar="FILE", help="Prometheus textfile, replaced every 10 s")
    parser.add_argument("--metrics-port", type=int, default=0, metavar="PORT", help="serve metrics on 127.0.0.1:PORT")
    parser.add_argument("--log", choices=("json", "text", "off"), default="json", help="own log on standard error (default json)")


def _add_limits(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--cache-entries", type=int, default=DEFAULT_ENTRIES, metavar="N", help="answers to remember; 0 for none")
    parser.add_argument("--batch-size", type=int, default=256, metavar="N", help="strings a batch (default 256)")
    parser.add_argument("--max-latency-ms", type=float, default=200.0, metavar="MS", help="longest wait for a batch to fill")
    parser.add_argument("--poll-ms", type=float, default=500.0, metavar="MS", help="how often to look for new lines")
    parser.add_argument("--commit-s", type=float, default=5.0, metavar="S", help="how often to fsync and move the checkpoint")
    parser.add_argument("--max-line-bytes", type=int, default=MAX_LINE_BYTES, metavar="N", help="longer lines are skipped")
    parser.add_argument("--rotate-mb", type=float, default=0.0, metavar="MB", help="rotate OUT at this size (default never)")
    parser.add_argument("--keep", type=int, default=0, metavar="N", help="rotated files to keep (default all)")


def config_of(args: argparse.Namespace) -> WatchConfig:
    """Settings from arguments.

    Raises:
        InputError: they do not go together.
    """
    return WatchConfig(
        paths=tuple(args.paths),
        once=args.once,
        emit=args.emit,
        form=args.format,
        output=None if args.output == Path("-") else args.output,
        syslog=args.syslog,
        state=args.state,
        summary=args.summary,
        mapping=args.mapping,
        allow=tuple(args.allow),
        budget=Budget.parse(args.alarms_per_day),
        fpr=args.fpr,
        embeddings=args.embeddings,
        explain=not args.no_explain,
        cache_entries=max(args.cache_entries, 0),
        batch_strings=args.batch_size,
        max_latency_s=args.max_latency_ms / 1000,
        poll_s=args.poll_ms / 1000,
        scan_s=max(args.poll_ms / 1000, 0.05),
        commit_s=args.commit_s,
        max_line_bytes=args.max_line_bytes,
        rotate_bytes=int(args.rotate_mb * (1 << 20)),
        keep=args.keep,
        metrics=args.metrics,
        metrics_port=args.metrics_port,
        require_signature=args.require_signature is not None,
        public_key=args.require_signature,
    )


def run(args: argparse.Namespace) -> int:
    """Run the command: 0, 1 if some items failed, 2 for wrong usage, 130 after Ctrl-C."""
    log, control = Log(args.log), Control()
    control.install()  # before the model is loaded: a stop that comes early is an orderly one
    try:
        config = config_of(args)
        runner = Runner(config, lambda: load_model(args), control=control, log=log)
    except (EdgeDemistError, OSError) as error:
        control.close()
        sys.stderr.write(f"edge-demist watch: {printable(error)}\n")
        return 2
    try:
        runner.run()
        return exit_code(runner.summary(), control, once=config.once)
    except Stopped:
        return 1
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 0
    except OSError as error:
        sys.stderr.write(f"edge-demist watch: {printable(error)}\n")
        return 1
    finally:
        runner.close()
        control.close()
