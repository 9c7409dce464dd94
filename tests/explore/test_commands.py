"""``map``, ``similar``, ``compare``, ``cluster`` and the passport of ``embed``, as a user calls them."""

from __future__ import annotations

import gzip
import json
import shutil
import sqlite3
import time

import numpy as np
import pandas as pd
import pytest
from support.small_atlas import add_small_atlas
from support.tiny_bundle import write_tiny_bundle

from edge_demist.cli import main
from edge_demist.explore.vector_files import VectorFile
from edge_demist.sensor.memory import SCHEMA

NAMES = [f"{word}{i}.example" for i, word in enumerate(["shop", "bank", "mail", "news"] * 25)]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return str(add_small_atlas(write_tiny_bundle(tmp_path_factory.mktemp("explore") / "bundle")))


@pytest.fixture
def run(bundle, capsys, monkeypatch):
    monkeypatch.setenv("EDGE_DEMIST_BUNDLE", bundle)

    def call(*arguments):
        try:
            code = main([str(a) for a in arguments])
        except SystemExit as stop:  # argparse
            code = stop.code
        out = capsys.readouterr()
        return code, out.out, out.err

    return call


@pytest.fixture
def names(tmp_path):
    path = tmp_path / "names.txt"
    path.write_text("\n".join(NAMES) + "\n")
    return path


def test_map_of_lines(run, names, tmp_path):
    code, out, err = run("map", names, "-o", tmp_path / "a.html", "--parquet", tmp_path / "a.parquet")
    assert (code, out) == (0, "")
    assert "100 names" in err
    first = (tmp_path / "a.html").read_bytes()
    assert run("map", names, "-o", tmp_path / "a.html")[0] == 0
    assert (tmp_path / "a.html").read_bytes() == first
    table = pd.read_parquet(tmp_path / "a.parquet")
    assert table["text"].tolist() == sorted(NAMES)
    assert table[["x", "y"]].to_numpy().min() >= 0
    assert not list(tmp_path.glob(".*tmp"))


def test_a_name_has_one_place_in_every_map(run, names, tmp_path):
    few = tmp_path / "few.txt"
    few.write_text("\n".join(NAMES[5:9]))
    for file in (names, few):
        assert run("map", file, "-o", tmp_path / "m.html", "--parquet", tmp_path / f"{file.stem}.parquet")[0] == 0
    whole, part = (pd.read_parquet(tmp_path / f"{stem}.parquet").set_index("text")[["x", "y"]] for stem in ("names", "few"))
    assert part.equals(whole.loc[part.index])


def table_of(run, tmp_path, *arguments):
    code, _, err = run("map", *arguments, "-o", tmp_path / "m.html", "--parquet", tmp_path / "m.parquet")
    return code, pd.read_parquet(tmp_path / "m.parquet").set_index("text"), err


def test_compare_marks_new_and_gone(run, tmp_path):
    (tmp_path / "new.txt").write_text("a.example\nb.example\n")
    (tmp_path / "old.txt").write_text("b.example\nc.example\n")
    code, table, _ = table_of(run, tmp_path, tmp_path / "new.txt", "--compare", tmp_path / "old.txt")
    assert code == 0
    assert table["status"].to_dict() == {"a.example": "new", "b.example": "", "c.example": "gone"}


def test_events_bring_labels_scores_and_times(run, tmp_path):
    events = [
        {"time": "2026-03-02T10:00:00.000000Z", "text": "a.example", "label": "legit", "score": 0.6},
        {"time": "2026-03-01T10:00:00.000000Z", "text": "a.example", "label": "dga", "score": 0.9, "alarm_score": 0.95},
        {"text": "b.example"},
        {"nothing": 1},
    ]
    path = tmp_path / "events.jsonl"
    path.write_text("".join(json.dumps(e) + "\n" for e in events) + "{broken\n")
    for colour in ("auto", "label", "score", "first-seen", "kind"):
        code, table, err = table_of(run, tmp_path, path, "--color", colour)
        assert code == 1
        assert "row 5: not valid JSON" in err
    assert table.loc["a.example", ["label", "score", "times"]].tolist() == ["dga", 0.95, 2]
    assert table.loc["a.example", "first_seen"] == pytest.approx(pd.Timestamp("2026-03-01T10:00Z").timestamp())
    assert table.loc["b.example", "times"] == 1


def test_a_zeek_log_and_its_gzip(run, tmp_path):
    header = "#separator \\x09\n#fields\tts\tuid\tquery\n#types\ttime\tstring\tstring\n"
    log = header + "1000.5\tC1\ta.example\n1001.0\tC2\tb.example\n1002.0\tC3\t-\n"
    (tmp_path / "dns.log").write_text(log)
    (tmp_path / "dns.log.gz").write_bytes(gzip.compress(log.encode()))
    for name in ("dns.log", "dns.log.gz"):
        code, table, _ = table_of(run, tmp_path, tmp_path / name)
        assert code == 1  # one query is unset
        assert table["first_seen"].to_dict() == {"a.example": 1000.5, "b.example": 1001.0}


def test_a_column_colours_the_map(run, tmp_path):
    frame = pd.DataFrame({"text": NAMES, "bytes": range(100), "country": ["de", None] * 50})
    frame.to_parquet(tmp_path / "t.parquet")
    for column in ("bytes", "country"):
        assert run("map", tmp_path / "t.parquet", "-o", tmp_path / "m.html", "--color", column)[0] == 0
    code, _, err = run("map", tmp_path / "t.parquet", "-o", tmp_path / "m.html", "--color", "nowhere")
    assert code == 2
    assert "has no column 'nowhere'" in err


def test_a_specialist_labels_the_map(run, names, tmp_path):
    code, table, _ = table_of(run, tmp_path, names, "--task", "hostname-category")
    assert code == 0
    assert set(table["label"]) <= {"a", "b", "c"}


def test_a_sensor_memory_is_read(run, tmp_path):
    state = tmp_path / "state"
    state.mkdir()
    store = sqlite3.connect(state / "memory.sqlite")
    store.executescript(SCHEMA)
    now = int(time.time() * 1e6)
    rows = [(b"sa.example", 5_000_000, 6_000_000, 3, 1), (b"hexample", 1, 2, 3, 4), (b"s\0hash", 1, 2, 3, 4), (b"sb.example", 1, now, 1, 1)]
    store.executemany("INSERT INTO seen VALUES (?, ?, ?, ?, ?)", rows)
    store.commit()
    store.close()
    code, table, _ = table_of(run, tmp_path, state, "--color", "count")
    assert code == 0
    assert table["first_seen"].to_dict() == {"a.example": 5.0, "b.example": 1e-6}
    hits = [json.loads(line)["text"] for line in run("similar", "a.example", "--in", state, "-k", 5)[1].splitlines()]
    assert hits == ["a.example", "b.example"]
    hits = [json.loads(line)["text"] for line in run("similar", "a.example", "--in", state, "--since", "7d")[1].splitlines()]
    assert hits == ["b.example"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-o", "x.txt"], "must end in .html"),
        (["-o", "x.html", "--max-names", "0"], "from 1"),
        (["-o", "x.html", "--continent", "moon"], "unknown continent 'moon'"),
        (["-o", "x.html", "--task", "moon"], "unknown task 'moon'"),
        (["-o", "/nowhere/x.html"], "cannot be written"),
    ],
)
def test_what_cannot_be_is_told(run, names, arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, _, err = run("map", names, *arguments)
    assert code == 2
    assert message in err
    assert not list(tmp_path.glob("x.*"))


def test_more_names_than_asked_for_are_counted(run, names, tmp_path):
    code, _, err = run("map", names, "-o", tmp_path / "m.html", "--max-names", 10)
    assert code == 0
    assert "90 lines hold strings beyond the first 10" in err


def test_a_bundle_without_an_atlas_is_told(run, names, tmp_path):
    plain = write_tiny_bundle(tmp_path / "plain")
    code, _, err = run("map", names, "-o", tmp_path / "m.html", "--bundle", plain)
    assert code == 2
    assert "no atlas" in err


@pytest.mark.parametrize("dtype", ["float32", "int8", "binary"])
@pytest.mark.parametrize("suffix", [".npy", ".jsonl", ".parquet"])
def test_embedded_files_carry_their_passport(run, names, tmp_path, suffix, dtype):
    path = tmp_path / f"v{suffix}"
    assert run("embed", names, "-o", path, "--dtype", dtype, "--normalizer", "hostname")[0] == 0
    file = VectorFile(path)
    passport = file.passport
    assert (passport.task, passport.normalizer, passport.dim, passport.dtype) == (None, "hostname", 128, dtype)
    vectors, texts = file.all()
    assert vectors.shape == (100, 128)
    assert texts == (None if suffix == ".npy" else NAMES)
    code, out, _ = run("similar", NAMES[7], "--in", path, "-k", 3)
    hits = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    assert [hit["rank"] for hit in hits] == [1, 2, 3]
    assert hits[0]["row"] == 7 or hits[0]["cosine"] == pytest.approx(hits[1]["cosine"], abs=0.2)
    if dtype != "binary":
        assert hits[0]["cosine"] == pytest.approx(1, abs=0.01)
    if suffix == ".parquet":
        assert len(pd.read_parquet(path)["vector"][0]) == (128 if dtype != "binary" else 16)
    if suffix == ".npy":
        assert np.load(path).shape == (100, 128 if dtype != "binary" else 16)


def test_several_questions_from_standard_input(run, names, tmp_path, monkeypatch):
    import io
    import sys

    assert run("embed", names, "-o", tmp_path / "v.parquet")[0] == 0
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(f"{NAMES[3]}\n\n{NAMES[50]}\n".encode())))
    code, out, err = run("similar", "-", "--in", tmp_path / "v.parquet", "-k", 2)
    lines = [json.loads(line) for line in out.splitlines()]
    assert code == 1
    assert "1 lines are empty" in err
    assert [(line["query"], line["rank"]) for line in lines] == [(NAMES[3], 1), (NAMES[3], 2), (NAMES[50], 1), (NAMES[50], 2)]


def test_mixed_spaces_are_refused_by_every_reader(run, names, tmp_path):
    general, other, task = (tmp_path / f"{name}.parquet" for name in ("general", "other", "task"))
    assert run("embed", names, "-o", general)[0] == 0
    assert run("embed", names, "-o", other, "--normalizer", "hostname")[0] == 0
    assert run("embed", names, "-o", task, "--task", "hostname-category")[0] == 0
    assert run("compare", general, general)[0] == 0
    for arguments in (
        ("compare", general, other),
        ("compare", general, task),
        ("similar", "a", "--in", general, "--task", "hostname-category"),
        ("cluster", general, "--task", "hostname-category"),
        ("map", task, "-o", tmp_path / "m.html"),
    ):
        code, out, err = run(*arguments)
        assert code == 2, arguments
        assert out == ""
        assert len(err.splitlines()) == 1
        assert "embed" in err
    moved = tmp_path / "moved"
    shutil.copytree(write_tiny_bundle(tmp_path / "base"), moved)
    file = moved / "weights.safetensors"
    raw = bytearray(file.read_bytes())
    raw[-1] ^= 1
    file.write_bytes(raw)
    manifest = json.loads((moved / "manifest.json").read_text())
    import hashlib

    manifest["files"]["weights.safetensors"]["sha256"] = hashlib.sha256(raw).hexdigest()
    (moved / "manifest.json").write_text(json.dumps(manifest))
    code, _, err = run("similar", "a", "--in", general, "--bundle", moved)
    assert code == 2
    assert "different spaces" in err


@pytest.mark.parametrize("damage", ["gone", "text", "rows", "key", "scale"])
def test_a_damaged_passport_is_refused(run, names, tmp_path, damage):
    path = tmp_path / "v.npy"
    assert run("embed", names, "-o", path, "--dtype", "int8")[0] == 0
    beside = tmp_path / "v.npy.json"
    passport = json.loads(beside.read_text())
    changed = {"rows": {"rows": 7}, "key": {"more": 1}, "scale": {"scale": 1.0}}
    text = "{" if damage == "text" else json.dumps(passport | changed.get(damage, {}))
    beside.unlink() if damage == "gone" else beside.write_text(text)
    code, out, err = run("similar", "a", "--in", path)
    assert (code, out) == (2, "")
    assert "embed" in err or "passport" in err


def test_comparing_two_strings(run):
    code, out, _ = run("compare", "a.example", "a.example")
    assert (code, json.loads(out)) == (0, {"a": "a.example", "b": "a.example", "cosine": 1.0})


@pytest.mark.parametrize("how", [["--threshold", "0.9"], ["--count", "7"]])
def test_clusters_of_strings_and_of_vectors(run, names, tmp_path, how):
    code, out, err = run("cluster", names, *how, "-o", tmp_path / "c.parquet", "--smallest", 1)
    assert code == 0
    lines = [json.loads(line) for line in out.splitlines()]
    assert sum(line["size"] for line in lines) == 100
    assert [line["size"] for line in lines] == sorted((line["size"] for line in lines), reverse=True)
    table = pd.read_parquet(tmp_path / "c.parquet")
    assert table["text"].tolist() == NAMES
    assert (table["cluster"].value_counts().sort_index() == [line["size"] for line in lines]).all()
    assert all(set(line["typical"]) <= set(table.loc[table["cluster"] == line["cluster"], "text"]) for line in lines)
    assert "100 strings" in err
    assert run("embed", names, "-o", tmp_path / "v.jsonl")[0] == 0
    assert run("cluster", tmp_path / "v.jsonl", *how, "--smallest", 1)[1] == out


@pytest.mark.parametrize("arguments", [["--threshold", "1.5"], ["--count", "0"], ["--count", "500"], ["-o", "x.csv"], ["--members", "-1"]])
def test_cluster_refuses_what_makes_no_sense(run, names, arguments):
    code, out, err = run("cluster", names, *arguments)
    assert (code, out) == (2, "")
    assert err


def test_verify_reads_the_atlas_too(run, bundle, tmp_path, rehash):
    assert run("verify")[0] == 0
    copy = tmp_path / "copy"
    shutil.copytree(bundle, copy)
    raw = (copy / "atlas.safetensors").read_bytes()
    (copy / "atlas.safetensors").write_bytes(raw.replace(b'\\"host\\", \\"request\\"', b'\\"host\\", \\"request\\n'))
    rehash(copy)
    code, _, err = run("verify", copy)
    assert code == 1
    assert "atlas.safetensors" in err


def test_a_csv_table_is_read_by_its_header(run, tmp_path):
    (tmp_path / "t.csv").write_text(
        'text,label,score,first_seen,bytes\na.example,dga,0.5,2026-03-01T00:00:00Z,7\n"b,c.example",legit,,,x\n'
    )
    code, table, _ = table_of(run, tmp_path, tmp_path / "t.csv")
    assert code == 0
    assert table["label"].to_dict() == {"a.example": "dga", "b,c.example": "legit"}
    assert table.loc["a.example", ["score", "first_seen"]].tolist() == [0.5, pd.Timestamp("2026-03-01", tz="UTC").timestamp()]
    assert run("map", tmp_path / "t.csv", "-o", tmp_path / "m.html", "--color", "bytes")[0] == 0


def test_halves_of_characters_are_spelled_out_in_parquet(run, tmp_path):
    rows = [{"text": "\ud800x.example", "label": "\ud83d"}, {"text": "b.example", "label": "b"}]
    (tmp_path / "odd.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    code, table, _ = table_of(run, tmp_path, tmp_path / "odd.jsonl")
    assert code == 0 and set(table["label"]) == {"\\ud83d", "b"} and set(table.index) == {"\\ud800x.example", "b.example"}
