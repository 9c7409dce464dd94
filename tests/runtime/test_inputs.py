"""What commands read: compressed, UTF-16, binary, blank lines, tables; and what they write."""

from __future__ import annotations

import csv
import dataclasses
import gzip
import io
import json
import pickle
import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_demist.cli import main
from edge_demist.cli.tables import CsvReader, CsvWriter
from edge_demist.errors import InputError

NAMES = ["kernel.org", "xjwqpvkz.info", "www.gov.uk"]
TEXT = "".join(name + "\n" for name in NAMES)


def classify(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, list[dict], str]:
    code = main(["classify", *map(str, arguments)])
    captured = capsys.readouterr()
    return code, [json.loads(line) for line in captured.out.splitlines()], captured.err


FORMS = {
    "plain": TEXT.encode(),
    "windows": TEXT.replace("\n", "\r\n").encode(),
    "utf-8 with a mark": b"\xef\xbb\xbf" + TEXT.encode(),
    "utf-16": TEXT.replace("\n", "\r\n").encode("utf-16"),
    "utf-16 be without a mark": TEXT.encode("utf-16-be"),
    "gzip": gzip.compress(TEXT.encode()),
    "utf-16 in gzip": gzip.compress(TEXT.encode("utf-16")),
    "no newline at the end": TEXT.strip().encode(),
    "blank lines": ("\n" + TEXT.replace("\n", "\n \n") + "\n").encode(),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_answers(capsys: pytest.CaptureFixture[str], tmp_path: Path, form: str) -> None:
    (tmp_path / "names").write_bytes(FORMS[form])
    code, answers, told = classify(capsys, "--task", "dga", tmp_path / "names")
    assert code == 0 and [a["text"] for a in answers] == NAMES and ("5 blank lines skipped" in told) == (form == "blank lines")


def test_zstd(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    zstandard = pytest.importorskip("zstandard")
    (tmp_path / "names.zst").write_bytes(zstandard.ZstdCompressor().compress(TEXT.encode()))
    assert [a["text"] for a in classify(capsys, "--task", "dga", tmp_path / "names.zst")[1]] == NAMES


@pytest.mark.parametrize("form", [[], ["--input-format", "zeek"]])
def test_a_compressed_zeek_log(capsys: pytest.CaptureFixture[str], tmp_path: Path, form: list[str]) -> None:
    log = "#separator \\x09\n#path\tdns\n#fields\tts\tuid\tquery\n" + "".join(f"1.0\tC{i}\t{n}\n" for i, n in enumerate(NAMES))
    (tmp_path / "dns.log.gz").write_bytes(gzip.compress(log.encode()))
    code, answers, _ = classify(capsys, "--task", "dga", *form, tmp_path / "dns.log.gz")
    assert code == 0 and [(a["text"], a["uid"]) for a in answers] == [(n, f"C{i}") for i, n in enumerate(NAMES)]


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"PK\x03\x04" + bytes(100), "zip archive"),
        (b"\x7fELF" + bytes(100), "program"),
        (b"BZh91AY&SY", "bzip2"),
        (b"ab\x01" * 10 + bytes(100), "bytes that no text has"),
        (random.Random(1).randbytes(3000), "bytes that no text has"),
        (TEXT.encode("utf-32"), "UTF-32"),
        (gzip.compress(TEXT.encode())[:-6], "truncated-gzip"),
        (b"\x1f\x8b\x08" + b"x" * 40, "corrupt-gzip"),
    ],
)
def test_binary_and_damaged_files_are_refused_by_name(capsys: pytest.CaptureFixture[str], tmp_path: Path, data: bytes, why: str) -> None:
    (tmp_path / "names.bin").write_bytes(data)
    code, _, told = classify(capsys, "--task", "dga", tmp_path / "names.bin")
    assert code == 2 and why in told and "names.bin" in told


def test_an_older_code_page_is_no_binary(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "names").write_bytes("привет мир\r\n".encode("cp1251") * 20)
    code, answers, _ = classify(capsys, "--task", "cmdline", tmp_path / "names")
    assert code == 0 and len(answers) == 20


def test_a_line_with_a_nul_is_still_a_string(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "names").write_bytes(b"a\0b.example\n" + TEXT.encode())
    code, answers, _ = classify(capsys, "--task", "dga", tmp_path / "names")
    assert code == 0 and [a["text"] for a in answers] == ["a\0b.example", *NAMES]


# --- tables -----------------------------------------------------------------------------------------------------------


def test_a_table_in_and_out(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(
        'id;host;"the note"\n1;kernel.org;"a; ""b"""\n2;xjwqpvkz.info;"two\nlines"\n3;;x\n4;a\n', encoding="utf-8"
    )
    code, out, _ = classify(capsys, "--task", "dga", "--field", "host", tmp_path / "t.csv", "-o", tmp_path / "o.csv")
    rows = list(csv.DictReader(io.StringIO((tmp_path / "o.csv").read_bytes().decode())))
    assert code == 1 and not out and [r["text"] for r in rows] == ["kernel.org", "xjwqpvkz.info", "", ""]
    assert [r["the note"] for r in rows] == ['a; "b"', "two\nlines", "x", ""] and [r["id"] for r in rows[:3]] == ["1", "2", "3"]
    assert rows[0]["label"] == "legit" and rows[1]["alarm"] == "true" and float(rows[1]["alarm_score"]) > 0.9
    assert rows[2]["error"] == "the text is empty" and "2 values for 3 columns" in rows[3]["error"]


def test_a_table_of_other_forms(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "t.tsv.gz").write_bytes(gzip.compress(b"text\tlabel\nkernel.org\tmine\n"))
    answers = classify(capsys, "--task", "dga", tmp_path / "t.tsv.gz")[1]
    assert answers[0]["input_label"] == "mine" and answers[0]["text"] == "kernel.org"
    (tmp_path / "one.csv").write_bytes("host\r\nkernel.org\r\n".encode("utf-16"))
    assert classify(capsys, "--task", "dga", tmp_path / "one.csv")[1][0]["text"] == "kernel.org"
    (tmp_path / "none.csv").write_text("a,b\n1,2\n")
    code, _, told = classify(capsys, "--task", "dga", tmp_path / "none.csv")
    assert code == 2 and "no column 'text'" in told and "a, b" in told


def test_nothing_of_a_table_is_lost(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    table = b'text,a,a,label\nkernel.org,5" disk,\xff\x00,-0\nxjwqpvkz.info,2,"3\n""4",1e400\n'
    (tmp_path / "t.csv").write_bytes(table)
    answers = classify(capsys, "--task", "dga", tmp_path / "t.csv")[1]
    assert [(a["a"], a["a_2"], a["input_label"]) for a in answers] == [('5" disk', "\udcff\0", "-0"), ("2", '3\n"4', "1e400")]
    assert classify(capsys, "--task", "dga", tmp_path / "t.csv", "-o", tmp_path / "o.csv")[0] == 0
    rows = list(csv.DictReader(io.StringIO((tmp_path / "o.csv").read_bytes().decode("utf-8", "surrogateescape"), newline="")))
    assert [(r["a"], r["a_2"], r["input_label"]) for r in rows] == [('5" disk', "\udcff\0", "-0"), ("2", '3\n"4', "1e400")]


def test_a_row_left_open_is_counted(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text('text,a\nkernel.org,1\nexample.org,"2\nexample.com,3\n')
    code, answers, _ = classify(capsys, "--task", "dga", tmp_path / "t.csv")
    assert code == 1 and len(answers) == 2 and answers[1]["line"] == 3 and "does not end" in answers[1]["error"]


CELL = st.text(st.characters(exclude_characters="\r", exclude_categories=["Cs"]), max_size=12)


@given(st.lists(st.tuples(CELL, CELL), max_size=5))
def test_tables_come_back_as_they_were_written(rows: list[tuple[str, str]]) -> None:
    written = io.StringIO()
    csv.writer(written, lineterminator="\n").writerows([("text", "other"), *rows])
    reader = CsvReader(None)
    lines = [reader(i, raw, False) for i, raw in enumerate(written.getvalue().encode().split(b"\n")[:-1], 1)]
    read = [(line.text, line.carried["other"]) for line in lines if line is not None]
    assert read == rows
    table = "\n".join(CsvWriter().rows({"text": text, "other": other, "label": "x"} for text, other in rows))
    back = list(csv.DictReader(io.StringIO(table)))
    assert [(r["text"], r["other"]) for r in back] == rows


@pytest.mark.parametrize("raw", [b"", b'"', b"\0", b"\xff"])
def test_no_header_is_no_crash(raw: bytes) -> None:
    try:
        CsvReader("text")(1, raw, True)
    except InputError as error:
        assert "column" in str(error)


def test_a_file_is_written_whole_or_not_at_all(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "names").write_text(TEXT)
    code, out, _ = classify(capsys, "--task", "dga", tmp_path / "names", "-o", tmp_path / "answers.jsonl")
    assert code == 0 and not out and len((tmp_path / "answers.jsonl").read_text().splitlines()) == 3
    (tmp_path / "cut.gz").write_bytes(gzip.compress(TEXT.encode())[:-6])
    assert classify(capsys, "--task", "dga", tmp_path / "cut.gz", "-o", tmp_path / "new.jsonl")[0] == 2
    assert not (tmp_path / "new.jsonl").exists() and len(list(tmp_path.iterdir())) == 3
    assert classify(capsys, "--task", "dga", tmp_path / "names", "-o", tmp_path / "no" / "x")[0] == 2


# --- auto, predictions --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "task"),
    [
        ("kernel.org", "hostname-threat"),
        ("/search?q=1' or '1'='1", "uri-attack"),
        ("curl/8.5.0", "user-agent"),
        ("Mozilla/5.0 (Windows NT 10.0; Win64; x64)", "user-agent"),
        ("https://example.com/a/b?c", "url-phishing"),
        ("powershell -nop -w hidden -c whoami", "cmdline"),
        ("invoice_2024.pdf", "filename"),
    ],
)
def test_auto_finds_the_specialist(capsys: pytest.CaptureFixture[str], tmp_path: Path, text: str, task: str) -> None:
    (tmp_path / "one").write_text(text)
    answer = classify(capsys, "--task", "auto", tmp_path / "one")[1][0]
    assert answer["task"] == task and next(iter(answer["fits"])) == task and 0.0 <= answer["fits"][task] <= 1.0


def test_predictions_leave_the_process(model) -> None:  # type: ignore[no-untyped-def]
    long = "/?" + "&".join(f"k{i}=v{i}" for i in range(200)) + "&q=1' or '1'='1"
    for prediction in [*model.classify(["a.com", ""], task="dga", top_k=2), *model.classify([long], task="uri-attack", top_k=0)]:
        assert pickle.loads(pickle.dumps(prediction)) == prediction
        assert dataclasses.asdict(prediction)["text"] == prediction.text
        shown = json.loads(json.dumps(prediction.to_dict()))
        assert shown["task"] == prediction.task and (prediction.error or shown["scores"].keys() == prediction.scores.keys())


def test_any_iterable_is_taken(model) -> None:  # type: ignore[no-untyped-def]
    wanted = model.encode(NAMES)
    for texts in (iter(NAMES), tuple(NAMES), (n for n in NAMES), np.array(NAMES), dict.fromkeys(NAMES), map(str, NAMES)):
        assert np.array_equal(model.encode(texts), wanted)
    assert [p.text for p in model.classify((n for n in NAMES), task="dga")] == NAMES
    assert [p.task for p in model.classify(iter(NAMES), task=iter(["dga"] * 3))] == ["dga"] * 3
    for wrong in (5, None):
        with pytest.raises(InputError, match="iterable"):
            model.encode(wrong)
