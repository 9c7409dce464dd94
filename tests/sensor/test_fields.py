"""Every field that ``watch`` reads, against an independent reader: pandas for Zeek's TSV, the standard library for JSON.

Nothing of the sensor's parsers or mapping is used for the expectation: which field goes where is written down again here,
and escapes are undone by Python's own codec.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas
import pytest

from tests.support.sensor_fakes import DATA, RAW, balanced, needs_raw, read_log, watch_once

NAMES = ("dga", "hostname-category", "hostname-threat")
SITES = ("hostname-category", "hostname-threat")
CERTIFICATE = (*SITES, "embedding")
FILES = ("filename", "filename-sensitivity")
ZEEK: dict[str, dict[str, tuple[str, ...]]] = {
    "dns": {"query": ("dns-tunnel", *NAMES)},
    "ssl": {"server_name": NAMES, "subject": ("embedding",), "issuer": ("embedding",)},
    "x509": {"certificate.subject": ("embedding",), "certificate.issuer": ("embedding",), "san.dns[]": CERTIFICATE},
    "http": {
        "host": SITES,
        "uri": ("uri-attack",),
        "user_agent": ("user-agent",),
        "filename": FILES,
        "orig_filenames[]": FILES,
        "resp_filenames[]": FILES,
    },
    "files": {"filename": FILES},
    "software": {"unparsed_version": ("user-agent",)},
}
EVE: dict[str, tuple[str, ...]] = {
    "dns.rrname": ("dns-tunnel", *NAMES),
    "dns.queries[].rrname": ("dns-tunnel", *NAMES),
    "dns.query[].rrname": ("dns-tunnel", *NAMES),
    "http.hostname": SITES,
    "http.url": ("uri-attack",),
    "http.http_user_agent": ("user-agent",),
    "tls.sni": NAMES,
    "tls.subject": ("embedding",),
    "tls.issuerdn": ("embedding",),
    "tls.subjectaltname[]": CERTIFICATE,
    "fileinfo.filename": FILES,
    "files[].filename": FILES,
}
Expected = Counter[tuple[int, str, str, str, str]]
"""(offset, join id, field, text, task)."""


def raw_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Offsets and lines."""
    offset = 0
    for line in io.BytesIO(read_log(path)):
        yield offset, line.rstrip(b"\r\n")
        offset += len(line)


def unescaped(text: str) -> str:
    """Undo Zeek's escapes; what is not UTF-8 is shown as the events show it."""
    raw = text.encode("latin-1").decode("unicode_escape").encode("latin-1") if "\\" in text else text.encode("latin-1")
    return raw.decode("utf-8", "backslashreplace")


def tables(path: Path) -> Iterator[tuple[str, list[str], list[int], pandas.DataFrame]]:
    """The parts of a TSV log between headers: log, types, offsets, table of strings."""
    path_name, names, types, offsets, body = "", [], [], [], []
    for offset, line in [*raw_lines(path), (-1, b"#end")]:
        if not line.startswith(b"#"):
            offsets.append(offset)
            body.append(line.decode("latin-1"))
            continue
        if body:
            text = io.StringIO("\n".join(body))
            yield (
                path_name,
                types,
                offsets,
                pandas.read_csv(
                    text,
                    sep="\t",
                    names=names,
                    dtype=str,
                    na_filter=False,
                    quoting=csv.QUOTE_NONE,
                    encoding="latin-1",
                    skip_blank_lines=False,
                ),
            )
            offsets, body = [], []
        key, *values = line.decode().split("\t")
        path_name = values[0] if key == "#path" else path_name
        names, types = (values if key == "#fields" else names), (values if key == "#types" else types)


def of_tsv(path: Path) -> Expected:
    """What the events of a TSV log must be."""
    found: Expected = Counter()
    for log, types, offsets, table in tables(path):
        assert len(types) == len(table.columns) and len(offsets) == len(table)
        containers = {n for n, t in zip(table.columns, types, strict=True) if re.match(r"set|vector|table", t)}
        for offset, row in zip(offsets, table.to_dict("records"), strict=True):
            cells = {n: v for n, v in row.items() if v not in ("-", "(empty)", "")}
            values = {n: [unescaped(x) for x in (v.split(",") if n in containers else [v])] for n, v in cells.items()}
            add_zeek(found, offset, log, values)
    return found


def add_zeek(found: Expected, offset: int, log: str, values: dict[str, list[str]]) -> None:
    """Add the expectations of one Zeek record."""
    identity = values.get("uid", values.get("fuid", values.get("fingerprint", [""])))[0]
    for names in {"x509": [("certificate.subject", "certificate.issuer")], "ssl": [("subject", "issuer")]}.get(log, []):
        add_certificate(found, offset, identity, names, values.get(names[0], []), values.get(names[1], []))
    for field, tasks in ZEEK.get(log, {}).items():
        if log == "software" and values["software_type"][0] not in ("HTTP::BROWSER", "Software::HTTP_BROWSER"):
            continue
        for text in values.get(field.removesuffix("[]"), []):
            name = text.removeprefix("*.") if field == "san.dns[]" else text
            if field == "uri":
                add_url(found, offset, identity, ("uri", "host+uri"), values.get("host", [""])[0], text)
                continue
            found.update((offset, identity, field, name, task) for task in tasks)


def add_certificate(found: Expected, offset: int, identity: str, fields: tuple[str, str], subjects: list[str], issuers: list[str]) -> None:
    """A certificate is its subject and its issuer in one string."""
    for subject in subjects:
        issuer = f" issuer={issuers[0]}" if issuers else ""
        found[offset, identity, f"{fields[1]}+{fields[0]}", f"subject={subject}{issuer}", "tls-certificate"] += 1


def add_url(found: Expected, offset: int, identity: str, fields: tuple[str, str], host: str, uri: str) -> None:
    """A URL is host and path, or what the request line held if that was absolute; without a host there is none."""
    if uri == "*":
        return
    if re.fullmatch(r"[\w.-]+:\d+", uri):  # what CONNECT asks for
        found[offset, identity, fields[1], uri, "url-phishing"] += 1
        return
    absolute = re.match(r"[a-z]+://[^/?#]*", uri, re.IGNORECASE)
    found[offset, identity, fields[0], (uri[absolute.end() :] or "/") if absolute else uri, "uri-attack"] += 1
    if (host and host[0] != "/") or absolute:
        found[offset, identity, fields[1], uri if absolute else host + uri, "url-phishing"] += 1


def once_a_record(found: Expected) -> Expected:
    """A string in two fields of a record is one string to a specialist: the first field counts."""
    first: dict[tuple[int, str, str], tuple[int, str, str, str, str]] = {}
    for key in found:
        first.setdefault((key[0], key[3], key[4]), key)
    return Counter(first.values())


def of_json(path: Path, log: str) -> Expected:
    """What the events of a JSON log must be; ``log`` is empty for Suricata's."""
    found: Expected = Counter()
    for offset, line in raw_lines(path):
        record = json.loads(line)
        if "event_type" in record:
            add_eve(found, offset, record)
        elif "CommandLine" in record:
            found[offset, record["ProcessGuid"], "CommandLine", record["CommandLine"], "cmdline"] += 1
        else:
            values = {n: v if isinstance(v, list) else [v] for n, v in record.items() if v not in ("", [], None)}
            add_zeek(found, offset, record.get("_path", log), values)
    return found


def add_eve(found: Expected, offset: int, record: dict) -> None:
    """Add the expectations of one Suricata event."""
    identity = str(record.get("flow_id", ""))
    tls = record.get("tls", {})
    parts = [[tls[key]] if tls.get(key) else [] for key in ("subject", "issuerdn")]
    add_certificate(found, offset, identity, ("tls.subject", "tls.issuerdn"), *parts)
    for side in ("request_headers", "response_headers"):
        headers = record.get("http", {}).get(side)
        if headers:
            text = " | ".join(f"{h['name']}: {h['value']}" for h in headers)
            found[offset, identity, f"http.{side}[].value+http.{side}[].name", text, "http-header"] += 1
    for field, tasks in EVE.items():
        nodes: list = [record]
        for step in re.findall(r"[^.\[\]]+", field):
            nodes = [x for n in nodes if isinstance(n, dict) for x in (n.get(step) if isinstance(n.get(step), list) else [n.get(step)])]
        for text in nodes:
            if isinstance(text, str) and text:
                name = text.removeprefix("*.") if field == "tls.subjectaltname[]" else text
                if field == "http.url":
                    add_url(found, offset, identity, ("http.url", "http.hostname+http.url"), record["http"].get("hostname", ""), text)
                    continue
                found.update((offset, identity, field, name, task) for task in tasks)


def expected(path: Path) -> Expected:
    """By an independent reader."""
    first = next(line for _, line in raw_lines(path))
    log = next((log for log in ZEEK if re.search(rf"(^|_){log}\b", path.name)), "")
    return once_a_record(of_tsv(path) if first.startswith(b"#") else of_json(path, log))


def observed(events: list[dict], path: Path) -> Expected:
    """What ``watch`` wrote about a file."""

    def identity(event: dict) -> str:
        return str(next((event[k] for k in ("uid", "fuid", "flow_id", "fingerprint", "ProcessGuid") if k in event), ""))

    return Counter((e["offset"], identity(e), e["field"], e["text"], e["task"]) for e in events if e["file"] == str(path))


def compare(folder: Path, tmp_path: Path) -> int:
    """Every file of a folder, with all specialists and vectors; the number of values compared."""
    events, summary = watch_once(tmp_path, folder, embeddings="int8")
    paths = sorted(p for p in folder.iterdir() if p.suffix != ".md")
    assert balanced(summary) and sorted(summary["files"]) == [str(p) for p in paths]
    compared = 0
    for path in paths:
        wanted, got = expected(path), observed(events, path)
        assert not wanted - got and not got - wanted, (path.name, list((wanted - got).items())[:3], list((got - wanted).items())[:3])
        records = sum(not line.startswith(b"#") for _, line in raw_lines(path))
        with_strings = len({key[0] for key in wanted})
        counts = summary["files"][str(path)]
        assert (counts["records"], counts["records_out"], counts["events"]) == (records, with_strings, wanted.total()), path.name
        assert counts["strings"] == len({key[:4] for key in wanted}) or counts["strings"] > 0
        assert sum(counts["skipped"].values()) == records - with_strings
        compared += wanted.total()
    assert summary["events"] == compared == len(events) and summary["errors"] == 0
    return compared


def test_values_of_the_sample_logs(tmp_path: Path) -> None:
    assert compare(DATA / "logs", tmp_path) > 700


@needs_raw
def test_values_of_the_raw_logs(tmp_path: Path) -> None:
    assert compare(RAW, tmp_path) > 84_000


@pytest.mark.parametrize("name", ["dns.log", "http.log"])
def test_times_and_addresses_of_the_sample_logs(name: str, tmp_path: Path) -> None:
    events, _ = watch_once(tmp_path, DATA / "logs" / name)
    ((_, _, offsets, table),) = tables(DATA / "logs" / name)
    rows = dict(zip(offsets, table.to_dict("records"), strict=True))
    for event in events:
        row = rows[event["offset"]]
        seconds, _, micros = row["ts"].partition(".")
        time = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=int(seconds), microseconds=int(micros))
        assert datetime.fromisoformat(event["time"]) == time
        assert (event["src_ip"], event["src_port"], event["dest_ip"]) == (row["id.orig_h"], int(row["id.orig_p"]), row["id.resp_h"])
