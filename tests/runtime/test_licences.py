"""Licences of what a bundle has seen: one table, every source of the shipped bundle in it."""

from __future__ import annotations

import json
import subprocess
import sys

from hypothesis import given
from hypothesis import strategies as st

from edge_demist.format import licences
from edge_demist.format.bundle import Bundle

TERMS = {"permissive", "share-alike", "restricted", "own-text", "unstated", "own"}


def test_every_source_of_the_shipped_bundle_has_a_licence():
    found = licences.sources_of(Bundle.load())
    assert len(found) > 100
    assert not [source.name for source in found if source.licence == licences.UNKNOWN]
    assert {source.terms for source in found} <= TERMS
    assert all(source.seen_by for source in found)


@given(st.sampled_from(sorted(licences.table())), st.text(max_size=20))
def test_the_longest_entry_in_a_name_decides(entry, rest):
    name = f"{entry} {rest}"
    inside = [known for known in licences.table() if known in name]
    longest = max(map(len, inside))
    assert licences.licence_of(name) in [licences.table()[known] for known in inside if len(known) == longest]
    assert licences.licence_of(entry) == licences.table()[entry]


def test_sources_without_an_entry_are_said_to_be_unknown():
    assert licences.licence_of("~") == (licences.UNKNOWN, "unstated")


def test_command_line_names_restricted_sources():
    command = [sys.executable, "-m", "edge_demist", "info", "--licences", "--json"]
    rows = json.loads(subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout)
    assert [row["name"] for row in rows] == sorted(row["name"] for row in rows)
    assert any(row["terms"] == "restricted" and "hostname-category" in row["seen_by"] for row in rows)
