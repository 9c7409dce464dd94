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
NOTES = """Every option of watch that makes sense for a service is taken and written into the unit; its files must exist on this machine.
With --serve: a socket unit and a service that starts with the first request, for edge-demist serve; systemd holds the socket, the
process has no network."""
SHARED = ("bundle", "require_signature", "engine", "threads")
"""Options of watch that serve has too."""


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
    parser.add_argument("--serve", action="store_true", help="units of the HTTP service in place of the sensor's")
    parser.add_argument("--uds", type=Path, metavar="PATH", help="--serve: its socket (default: /run/edge-demist.sock)")
    parser.add_argument("--port", type=number(1, 65535, whole=True), metavar="N", help="--serve: a port of --host instead")
    parser.add_argument(
        "--host", default="127.0.0.1", metavar="ADDRESS", help="--serve: another needs --api-key-file (default: %(default)s)"
    )
    parser.add_argument("--api-key-file", metavar="FILE", help="--serve: demand this key; root reads the file, the service a copy")
    watch.add_output(parser)
    watch.add_choices(parser)
    watch.add_limits(parser)
    given = watch_parser().parse_args(["-", *DEFAULT_ARGUMENTS])
    parser.set_defaults(**{name: getattr(given, name) for name in ("output", "rotate_mb", "rotate_keep", "metrics", "emit")})
    parser.set_defaults(default_of=parser.get_default)


def watch_parser() -> argparse.ArgumentParser:
    """The parser of ``watch`` alone."""
    subparsers: argparse._SubParsersAction[argparse.ArgumentParser] = Parser().add_subparsers()  # type: ignore[assignment]
    watch.add_parser(subparsers)
    found: argparse.ArgumentParser = subparsers.choices["watch"]
    return found


def run(args: argparse.Namespace) -> int:
    """Run the command: 0, 1 if the unit cannot be written, 2 for wrong usage."""
    need_linux("install-service")
    if args.serve:
        return _run_serve(args)
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


def _run_serve(args: argparse.Namespace) -> int:
    """The units of the HTTP service."""
    from edge_demist.serve.settings import Settings, read_key
    from edge_demist.serve.unit import NAME, ServeUnit, install, render

    problems: list[str] = []
    try:
        key = args.api_key_file and str(Path(args.api_key_file).absolute())
        uds = None if args.port else (args.uds or Path("/run/edge-demist.sock")).absolute()
        if args.uds and args.port:
            raise InputError("give --uds PATH or --port N, not both")
        unit = ServeUnit(
            Settings(host=args.host, port=args.port, uds=uds, api_key=read_key(Path(key)) if key else None),
            executable=_executable(args.executable, problems), key_file=key, group=(args.group or [None])[0],
            memory_max=args.memory_max, cpu_quota=args.cpu_quota, arguments=_serve_arguments(args, problems),
        )  # fmt: skip
        problems[:0] = unit.unseen()
        if problems and not args.print_only:
            raise InputError(problems[0])
        sys.stderr.write("".join(f"edge-demist install-service: note: {printable(problem)}\n" for problem in problems))
        if args.print_only:
            sys.stdout.write("\n".join(f"# {name}\n{text}" for name, text in render(unit).items()))
            return 0
        paths = install(unit, args.folder)
    except InputError as error:
        sys.stderr.write(f"edge-demist install-service: {printable(error)}\n")
        return 2
    except OSError as error:
        sys.stderr.write(f"edge-demist install-service: {printable(error.filename)}: {error.strerror}; run as root, or use --print\n")
        return 1
    sys.stdout.write(f"wrote {' and '.join(map(str, paths))}; now: systemctl daemon-reload && systemctl enable --now {NAME}.socket\n")
    return 0


def _serve_arguments(args: argparse.Namespace, problems: list[str]) -> tuple[str, ...]:
    """The options that ``serve`` shares with ``watch``, where they differ from the defaults.

    Raises:
        InputError: something that only the sensor takes.
    """
    if args.paths:
        raise InputError(f"{args.paths[0]}: --serve reads no logs")
    words: list[str] = []
    for action in watch_parser()._actions:
        if not action.option_strings or action.help == argparse.SUPPRESS or action.dest not in args:
            continue
        name, value = action.option_strings[0], getattr(args, action.dest)
        if action.dest not in SHARED and value != args.default_of(action.dest):
            raise InputError(f"{name} is an option of the sensor, not of --serve")
        if action.dest in SHARED and value != action.default:
            if isinstance(value, Path) and not _is_there(value):
                problems.append(f"{name} {value}: there is no such file")
            words += [name, _text(value)]
    return tuple(words)


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
