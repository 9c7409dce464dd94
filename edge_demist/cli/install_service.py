"""``edge-demist install-service``: print or write the systemd unit."""

from __future__ import annotations

import argparse
import os
import sys
import sysconfig
from pathlib import Path

from edge_demist.cli import watch
from edge_demist.cli.options import Example, Parser, command, need_linux, number
from edge_demist.errors import InputError
from edge_demist.io import printable
from edge_demist.sensor.service import DEFAULT_ARGUMENTS, UNIT_FOLDER, UnitOptions, install_unit, render_unit

_DEFAULT = UnitOptions()
EXAMPLES = (
    Example(
        "edge-demist install-service --print --executable /opt/edge-demist/bin/edge-demist /var/log/suricata/eve.json | grep ExecStart",
        "ExecStart=/opt/edge-demist/bin/edge-demist watch /var/log/suricata/eve.json --state /var/lib/edge-demist/state …",
    ),
)
NOTES = "Every option of watch that makes sense for a service is taken and written into the unit; its files must exist on this machine."


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    about = "A unit without network, users or devices, with limits and a watchdog."
    parser = command(subparsers, "install-service", "print or install the systemd unit", EXAMPLES, NOTES, about)
    parser.add_argument("paths", nargs="*", metavar="PATH", help=f"logs to watch (default {' '.join(_DEFAULT.paths)})")
    parser.add_argument("--print", action="store_true", dest="print_only", help="print the unit and write nothing")
    parser.add_argument("--folder", type=Path, default=UNIT_FOLDER, metavar="DIR", help="where to write it (default: %(default)s)")
    parser.add_argument("--executable", metavar="FILE", help="the edge-demist to run (default: the one of this Python)")
    parser.add_argument("--group", action="append", metavar="NAME", help="group that may read the logs (default: adm)")
    parser.add_argument("--memory-max", default=_DEFAULT.memory_max, metavar="SIZE", help="MemoryMax (default: %(default)s)")
    quota = number(1, 6400, whole=True)
    parser.add_argument("--cpu-quota", type=quota, default=_DEFAULT.cpu_quota, metavar="PERCENT", help="CPUQuota (default: %(default)s)")
    watch.add_output(parser)
    watch.add_choices(parser)
    watch.add_limits(parser)
    given = watch_parser().parse_args(["-", *DEFAULT_ARGUMENTS])
    parser.set_defaults(**{name: getattr(given, name) for name in ("output", "rotate_mb", "rotate_keep", "metrics", "emit")})


def watch_parser() -> argparse.ArgumentParser:
    """The parser of ``watch`` alone."""
    subparsers: argparse._SubParsersAction[argparse.ArgumentParser] = Parser().add_subparsers()  # type: ignore[assignment]
    watch.add_parser(subparsers)
    found: argparse.ArgumentParser = subparsers.choices["watch"]
    return found


def run(args: argparse.Namespace) -> int:
    """Run the command: 0, 1 if the unit cannot be written, 2 for wrong usage."""
    need_linux("install-service")
    problems: list[str] = []
    try:
        if any(not path for path in args.paths):
            raise InputError("a PATH is empty")
        paths = tuple(str(Path(path).absolute()) for path in args.paths) or _DEFAULT.paths
        options = UnitOptions(
            paths=paths,
            executable=_executable(args.executable, problems),
            groups=tuple(args.group or _DEFAULT.groups),
            memory_max=args.memory_max,
            cpu_quota=args.cpu_quota,
            arguments=_arguments(args, problems),
        )
        problems[:0] = options.unseen()
        if problems and not args.print_only:
            raise InputError(problems[0])
    except InputError as error:
        sys.stderr.write(f"edge-demist install-service: {printable(error)}\n")
        return 2
    problems += [f"{path}: is not there yet" for path in args.paths if not _is_there(path)]
    sys.stderr.write("".join(f"edge-demist install-service: note: {printable(problem)}\n" for problem in problems))
    if args.print_only:
        sys.stdout.write(render_unit(options))
        return 0
    try:
        path = install_unit(options, args.folder)
    except OSError as error:
        sys.stderr.write(f"edge-demist install-service: {printable(error.filename)}: {error.strerror}; run as root, or use --print\n")
        return 1
    sys.stdout.write(f"wrote {path}; now: systemctl daemon-reload && systemctl enable --now {path.name}\n")
    return 0


def _executable(named: str | None, problems: list[str]) -> str:
    """What the unit starts: the file named, or the command that pip wrote beside this Python."""
    found = Path(named).absolute() if named else Path(sysconfig.get_path("scripts"), "edge-demist")
    if not named and not _is_there(found):
        problems.append(f"{sys.executable} has no {found}: pip install edge-demist into it, or name --executable")
        return _DEFAULT.executable
    if not _is_there(found) or not found.is_file() or not os.access(found, os.X_OK):
        problems.append(f"{found}: is no program on this machine")
    else:
        UnitOptions(executable=_interpreter(found))
    return str(found)


def _is_there(path: Path | str) -> bool:
    """Whether a file can be seen; one behind a closed door cannot."""
    try:
        return Path(path).exists()
    except OSError:
        return False


def _text(value: object) -> str:
    return str(value.absolute()) if isinstance(value, Path) else f"{value:g}" if isinstance(value, float) else str(value)


def _interpreter(script: Path) -> str:
    """The program behind a script, which the service must see as well."""
    with script.open("rb") as stream:
        first = stream.readline(512)
    words = first[2:].split() if first.startswith(b"#!") else []
    return os.fsdecode(words[0]) if words else str(script.resolve())


def _arguments(args: argparse.Namespace, problems: list[str]) -> tuple[str, ...]:
    """The options of ``watch`` that differ from its own defaults, absolute where they are paths."""
    if args.metrics_port:
        raise InputError("--metrics-port: the service has no network; --metrics writes a file that a node exporter reads")
    words = list(DEFAULT_ARGUMENTS[:2])
    args.alarms_per_day = args.alarms_per_day or [DEFAULT_ARGUMENTS[-1]]
    for action in watch_parser()._actions:
        value = getattr(args, action.dest, action.default)
        if not action.option_strings or action.help == argparse.SUPPRESS or value == action.default:
            continue
        name = action.option_strings[0]
        for one in value if isinstance(value, list) else [value]:
            if action.dest in ("mapping", "allow", "bundle", "require_signature") and not _is_there(one):
                problems.append(f"{name} {one}: there is no such file")
            words += [name] if action.nargs == 0 else [name, _text(one)]
    return tuple(words)
