"""Rows made for the specialists without an adapter, and how sources are dealt into folds."""

from __future__ import annotations

import random

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("torch")
from benchmarks.unseen_sources import FOLDS, fold_of
from edge_demist.normalizers import NORMALIZERS
from tools.synth import certificates, everyday_hosts, http_headers, sensitive_files
from tools.synth.templates import groups
from tools.train.plain import NGRAM_SHARES, PLAIN, UNKNOWN


@pytest.mark.parametrize(
    ("module", "task", "least"),
    [(certificates, "tls-certificate", 6), (http_headers, "http-header", 6), (sensitive_files, "filename-sensitivity", 10)],
)
def test_made_rows_are_even_and_differ(module, task, least):
    rows = module.generate(random.Random(7), 600)
    counts = {label: sum(row[1] == label for row in rows) for label in {row[1] for row in rows}}
    assert len(counts) == least
    assert max(counts.values()) - min(counts.values()) <= 1
    assert len({row[0] for row in rows}) > 500
    normalize = NORMALIZERS[PLAIN[task].task.normalizer]
    assert all(normalize(row[0]) for row in rows)
    assert task in NGRAM_SHARES
    assert module.generate(random.Random(7), 600) == rows


def test_pseudo_headers_tell_no_class():
    rows = http_headers.generate(random.Random(3), 3000)
    with_pseudo = {label for text, label, _ in rows if ":authority" in text}
    assert {"ordinary-browser", "ordinary-api-client", "attack", "crawler-scanner"} <= with_pseudo


def test_single_labels_come_most_often():
    kinds = [row[2] for row in everyday_hosts.generate(random.Random(1), 1200)]
    assert kinds.count("single-label") == 4 * kinds.count("provider")
    assert all("." not in row[0] for row in everyday_hosts.generate(random.Random(1), 1200) if row[2] == "single-label")


def test_a_source_has_one_fold():
    folds = [fold_of(f"owner/name{i}") for i in range(200)]
    assert {*folds} == set(range(FOLDS))
    assert folds == [fold_of(f"owner/name{i}") for i in range(200)]


def test_twins_of_blocks_differ_in_what_decides_the_label():
    rows = [(text, label) for text, label, _ in http_headers.generate(random.Random(2), 600)]
    twins = http_headers.twins(random.Random(4), rows, 800)
    assert {"attack", "server-leak", "ordinary-response", "ordinary-browser", "ordinary-api-client", "crawler-scanner"} == {
        t[1] for t in twins
    }
    known = {line for text, label in rows if label.startswith("ordinary") for line in text.split(" | ")}
    for text, label, _ in twins:
        if label == "attack":
            assert sum(line not in known for line in text.split(" | ")) >= 1
    assert http_headers.twins(random.Random(4), [], 10) == []


def test_endings_tell_keys_copies_and_sources_by_themselves():
    rows = sensitive_files.generate(random.Random(6), 4000)
    for label, endings in (("backup-database", (".bak", ".old", "~")), ("source-and-secrets-config", (".py", ".php"))):
        mine = [text for text, found, _ in rows if found == label and text.lower().endswith(endings)]
        assert len(mine) > 10


def test_shortened_certificates_hold_nothing_new_and_keep_their_label():
    rows = [(text, label) for text, label, _ in certificates.generate(random.Random(2), 300)]
    known = dict(rows)
    words = {word for text in known for word in text.replace("=", " ").replace(",", " ").split()}
    short = certificates.shortened(random.Random(3), rows, 500)
    assert len(short) == 500
    assert {label for _, label, _ in short} <= set(known.values())
    for text, _, _ in short:
        assert text
        assert set(text.replace("=", " ").replace(",", " ").split()) <= words
    assert len({text for text, _, _ in short} - set(known)) > 200
    assert certificates.shortened(random.Random(3), [], 10) == []


@pytest.mark.parametrize(
    ("make", "file", "labels"),
    [
        (certificates.known, certificates.FILE, certificates.KNOWN),
        (sensitive_files.whole, sensitive_files.WHOLE, sensitive_files.WHOLE_SHARES),
    ],
)
def test_templates_of_what_is_known_are_filled_and_have_a_share(make, file, labels):
    assert {*groups(file)} == {*labels}
    for label in labels:
        rows = [make(random.Random(seed), label) for seed in range(400)]
        assert not [text for text in rows if set(text) & set("<>|")]
        assert len({*rows}) > 200


def test_other_classes_of_certificates_are_subclasses_of_unknown():
    names = [*certificates.FORMS, "malware-c2", "remote-access-vpn"]
    columns = PLAIN["tls-certificate"].columns(pd.DataFrame({"text": names, "label": names}))
    assert columns.labels == sorted([*certificates.FORMS, UNKNOWN])
    assert [columns.labels[owner] for owner in columns.owners] == [
        name if name in certificates.FORMS else UNKNOWN for name in columns.names
    ]
    assert columns.owners == sorted(columns.owners)
    logits = np.random.default_rng(5).normal(size=(20, len(names))).astype(np.float32)
    share = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    grouped = np.exp(columns.grouped(logits))
    owners = np.array(columns.owners)
    expected = np.stack([share[:, owners == label].sum(1) for label in range(len(columns.labels))], axis=1)
    np.testing.assert_allclose(grouped / grouped.sum(1, keepdims=True), expected, rtol=1e-5)


def test_a_temperature_makes_the_labels_likeliest():
    columns = PLAIN["http-header"].columns(pd.DataFrame({"text": ["a", "b", "c"], "label": ["a", "b", "c"]}))
    rng = np.random.default_rng(6)
    logits = rng.normal(size=(4000, 3)).astype(np.float32) * 2
    y = (logits + rng.gumbel(size=logits.shape)).argmax(1)
    assert columns.temperature(3 * logits, y) == pytest.approx(3, rel=0.15)
