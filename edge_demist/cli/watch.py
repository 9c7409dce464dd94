"""``edge-demist watch``: follow Zeek and Suricata logs and write verdicts."""

from __future__ import annotations

import argparse
import gc
import os
import sys
from pathlib import Path

from edge_demist.cli.models import load_model
from edge_demist.cli.options import Example, add_fpr, add_model, add_renamed, command, milliseconds, need_linux, number
from edge_demist.errors import EdgeDemistError
from edge_demist.io import printable
from edge_demist.sensor.config import WatchConfig
from edge_demist.sensor.control import Control, Log
from edge_demist.sensor.detect.answer_cache import DEFAULT_ENTRIES
from edge_demist.sensor.detect.budget import Budget
from edge_demist.sensor.detect.scoring import DEFAULT_FPR
from edge_demist.sensor.reports import exit_code
from edge_demist.sensor.retry import Stopped
from edge_demist.sensor.runner import Runner
from edge_demist.sensor.sources.lines import MAX_LINE_BYTES

COLLECT_AFTER = 200_000, 20, 20
"""New objects, and collections, between Python's looks for circles: records make many objects and hardly a circle."""
EXAMPLES = (
    Example(
        'printf \'{"_path": "dns", "ts": 1700000000.5, "query": "xjwqpvkz.info"}\\n\' > dns.log\n'
        "edge-demist watch --once --emit alarms --log off dns.log",
        '{"time":"2023-11-14T22:13:20.500000Z",…"text":"xjwqpvkz.info","task":"dga","label":"dga",…"alarm":true,…}',
    ),
)
NOTES = """
a sensor keeps its place and rotates its output:
  edge-demist watch /var/log/zeek --state /var/lib/edge-demist -o alarms.jsonl --emit alarms --alarms-per-day 20
  edge-demist watch /var/log/zeek --state /var/lib/edge-demist -o incidents.jsonl --emit incidents
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    about = "Follow Zeek logs (TSV or JSON) and Suricata eve.json, or folders of them; write one event a verdict."
    parser = command(subparsers, "watch", "follow Zeek and Suricata logs, write verdicts", EXAMPLES, NOTES, about)
    parser.add_argument(
        "paths",
        nargs="+",
        type=Path,
        metavar="PATH",
        help="a log file or a folder of logs, also compressed; - for standard input, or a pipe",
    )
    parser.add_argument("--once", action="store_true", help="read what is there and end")
    parser.add_argument("--state", type=Path, metavar="DIR", help="keep the place here; a restart goes on from it")
    parser.add_argument("--summary", type=Path, metavar="FILE", help="write counts here at the end, as JSON")
    add_output(parser)
    add_choices(parser)
    add_limits(parser)
    parser.set_defaults(every_specialist=True)


def add_output(parser: argparse.ArgumentParser) -> None:
    """Where events go, and in which form."""
    parser.add_argument("-o", "--output", type=Path, metavar="OUT", help="write here instead of standard output")
    forms = ("jsonl", "eve", "ecs", "ocsf", "zeek", "parquet")
    add_renamed(parser, "--output-format", "--format", choices=forms, default="jsonl", help="form of the output (default: %(default)s)")
    parser.add_argument("--rotate-mb", type=number(0), default=0.0, metavar="MB", help="rotate OUT at this size (default: never)")
    add_renamed(parser, "--rotate-keep", "--keep", type=_count, default=0, metavar="N", help="rotated files to keep (default: all)")
    parser.add_argument("--syslog", default="", metavar="SOCKET", help="send events to a local syslog socket (RFC 5424)")
    parser.add_argument("--metrics", type=Path, metavar="FILE", help="Prometheus textfile, replaced every 10 s")
    parser.add_argument(
        "--metrics-port", type=number(0, 65535, whole=True), default=0, metavar="PORT", help="serve metrics on 127.0.0.1:PORT"
    )
    parser.add_argument("--log", choices=("json", "text", "off"), default="json", help="own log on standard error (default: json)")


def add_choices(parser: argparse.ArgumentParser) -> None:
    """What is read, asked and told."""
    parser.add_argument("--emit", choices=("all", "alarms", "incidents"), default="all", help="what to write (default: %(default)s)")
    parser.add_argument("--no-screen", action="store_true", help="with --emit alarms or incidents: no stage one before the model")
    parser.add_argument("--mapping", type=Path, metavar="TOML", help="which field goes to which specialist")
    parser.add_argument("--allow", type=Path, action="append", default=[], metavar="TOML", help="allow-list; may be repeated")
    parser.add_argument(
        "--alarms-per-day",
        action="append",
        default=[],
        metavar="N|TASK=N",
        help="budget of alarms per 24 hours of log time, in all or for one specialist; may be repeated",
    )
    parser.add_argument(
        "--incidents-per-day",
        type=number(1, whole=True),
        default=0,
        metavar="N",
        help="budget of --emit incidents; the worst are always told",
    )
    parser.add_argument(
        "--alarm-when",
        choices=("always", "new", "rare"),
        default="always",
        help="alarm always (default), only on strings first seen within 24 hours, or only on those of at most two clients",
    )
    parser.add_argument("--nearest", action="store_true", help="add to each event the nearest strings of earlier events, and novelty")
    add_fpr(parser, f"calibrated false-positive rate to start at (default: {DEFAULT_FPR:g})")
    parser.add_argument("--embeddings", choices=("none", "int8", "float32"), default="none", help="write vectors of certificates")
    parser.add_argument("--no-explain", action="store_true", help="leave out why an alarm was given")
    add_model(parser, "processes that parse and score, with another one that decides and writes")


def add_limits(parser: argparse.ArgumentParser) -> None:
    """Sizes, and times in seconds."""
    parser.add_argument("--cache-entries", type=_count, default=DEFAULT_ENTRIES, metavar="N", help="answers to remember; 0 for none")
    parser.add_argument("--batch-size", type=_size, default=256, metavar="N", help="strings a batch (default: %(default)s)")
    parser.add_argument("--max-line-bytes", type=_size, default=MAX_LINE_BYTES, metavar="N", help="longer lines are skipped")
    times = (
        ("--max-latency", "--max-latency-ms", 0.2, "longest wait for a batch to fill"),
        ("--poll-interval", "--poll-ms", 0.5, "how often to look for new lines"),
    )
    for name, old, default, text in times:
        about = f"{text}, in seconds (default: %(default)s)"
        add_renamed(parser, name, old, convert=milliseconds, type=number(0), default=default, metavar="S", help=about)
    text = "how often to fsync and move the checkpoint, in seconds (default: %(default)s)"
    add_renamed(parser, "--commit-interval", "--commit-s", type=number(0), default=5.0, metavar="S", help=text)


_count, _size = number(0, whole=True), number(1, whole=True)


def config_of(args: argparse.Namespace) -> WatchConfig:
    """Settings from arguments.

    Raises:
        InputError: they do not go together.
    """
    return WatchConfig(
        paths=tuple(args.paths),
        once=args.once,
        emit=args.emit,
        screen=not args.no_screen,
        form=args.output_format,
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
        cache_entries=args.cache_entries,
        batch_strings=args.batch_size,
        max_latency_s=args.max_latency,
        poll_s=args.poll_interval,
        scan_s=max(args.poll_interval, 0.05),
        commit_s=args.commit_interval,
        max_line_bytes=args.max_line_bytes,
        rotate_bytes=int(args.rotate_mb * (1 << 20)),
        keep=args.rotate_keep,
        metrics=args.metrics,
        metrics_port=args.metrics_port,
        require_signature=args.require_signature is not None,
        incidents_per_day=args.incidents_per_day,
        alarm_when=args.alarm_when,
        nearest=args.nearest,
        public_key=args.require_signature,
        threads=args.threads,
    )


def runner_class(config: WatchConfig) -> type[Runner]:
    """What runs: with several processes where that is asked for."""
    if config.threads == 1:
        return Runner
    from edge_demist.sensor.workers.runner import ParallelRunner  # a start with one process needs none of it

    return ParallelRunner


def run(args: argparse.Namespace) -> int:
    """Run the command: 0, 1 if some items failed, 2 for wrong usage, 130 after Ctrl-C."""
    need_linux("watch")
    log, control = Log(args.log), Control()
    control.install()  # before the model is loaded: a stop that comes early is an orderly one
    try:
        config = config_of(args)
        one = argparse.Namespace(**{**vars(args), "threads": 1})  # a process of the sensor asks on one thread
        runner = runner_class(config)(config, lambda: load_model(one), control=control, log=log)
    except (EdgeDemistError, OSError) as error:
        control.close()
        sys.stderr.write(f"edge-demist watch: {printable(error)}\n")
        return 2
    gc.freeze()  # the model and the tables live as long as the process: the collector need not look through them
    gc.set_threshold(*COLLECT_AFTER)
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
        gc.freeze()  # nor at the end, when all of it goes
