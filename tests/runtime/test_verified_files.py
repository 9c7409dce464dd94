"""Notes of files that were found whole: what lets a file go unhashed, and everything that must not."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from edge_demist import cli
from edge_demist.cli import models
from edge_demist.errors import IntegrityError
from edge_demist.format import bundle as bundles
from edge_demist.format import verified
from edge_demist.format.bundle import COPIED, Bundle

WEIGHTS = "weights.safetensors"


@pytest.fixture
def place(tmp_path, monkeypatch):
    """An empty cache folder; files count as settled at once."""
    folder = tmp_path / "cache"
    monkeypatch.setenv(verified.CACHE_VARIABLE, str(folder))
    monkeypatch.setattr(verified, "SETTLED_NS", -(10**12))
    return folder


@pytest.fixture
def hashed(monkeypatch):
    """Names of the files hashed since."""
    names, compare = [], bundles._compare_hash

    def counted(folder, name, entry):
        names.append(name)
        compare(folder, name, entry)

    monkeypatch.setattr(bundles, "_compare_hash", counted)
    return names


def flip(path, at=-1):
    """Change one bit in place, and put the modification time back."""
    before = path.stat()
    with path.open("r+b") as stream:
        stream.seek(at, os.SEEK_END)
        byte = stream.read(1)
        stream.seek(at, os.SEEK_END)
        stream.write(bytes([byte[0] ^ 1]))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def note_of(place):
    (path,) = place.iterdir()
    return path


def test_a_second_start_hashes_nothing(place, bundle_copy, hashed):
    first = Bundle.load(bundle_copy)
    assert sorted(hashed) == sorted(first.files)
    hashed.clear()
    assert Bundle.load(bundle_copy).id == first.id
    assert hashed == []
    Bundle.load(bundle_copy, hash_all=True)
    assert sorted([*hashed, *COPIED]) == sorted(first.files)  # the two large ones are hashed as they are read


def test_a_changed_file_is_found_though_its_time_was_put_back(place, bundle_copy, hashed):
    Bundle.load(bundle_copy)
    hashed.clear()
    flip(bundle_copy / WEIGHTS)
    with pytest.raises(IntegrityError, match=r"weights\.safetensors: SHA-256 differs"):
        Bundle.load(bundle_copy)
    assert hashed == [WEIGHTS]


def test_a_replaced_file_is_found(place, bundle_copy):
    Bundle.load(bundle_copy)
    other = bundle_copy.with_name("other")
    shutil.copy2(bundle_copy / WEIGHTS, other)
    flip(other)
    other.replace(bundle_copy / WEIGHTS)
    with pytest.raises(IntegrityError, match="SHA-256 differs"):
        Bundle.load(bundle_copy)


def test_another_manifest_is_not_covered_by_the_note(place, bundle_copy, rehash, hashed):
    Bundle.load(bundle_copy)
    card = bundle_copy / "MODEL_CARD.md"
    card.write_text("another card")
    rehash(bundle_copy)
    hashed.clear()
    Bundle.load(bundle_copy)
    assert hashed == ["MODEL_CARD.md"]
    manifest = json.loads((bundle_copy / "manifest.json").read_text())
    manifest["files"]["MODEL_CARD.md"]["sha256"] = "0" * 64
    (bundle_copy / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(IntegrityError, match=r"MODEL_CARD\.md: SHA-256 differs"):
        Bundle.load(bundle_copy)


def test_a_file_changed_just_now_is_not_noted(place, bundle_copy, monkeypatch, hashed):
    monkeypatch.setattr(verified, "SETTLED_NS", 10**12)
    Bundle.load(bundle_copy)
    hashed.clear()
    loaded = Bundle.load(bundle_copy)
    assert sorted(hashed) == sorted(loaded.files)


def spoil_group_writable(note):
    note.chmod(0o620)


def spoil_link(note):
    target = note.with_name("elsewhere")
    note.rename(target)
    note.symlink_to(target)


def spoil_json(note):
    note.write_bytes(b'{"folder": ' + b"[" * 50_000)


def spoil_kind(note):
    note.write_text('["' + "x" * 10 + '"]')


def spoil_size(note):
    note.write_bytes(note.read_bytes() + b" " * verified.MAX_NOTE_BYTES)


def spoil_folder(note):
    body = json.loads(note.read_text())
    body["folder"] = "/somewhere/else"
    note.write_text(json.dumps(body))


@pytest.mark.parametrize("spoil", [spoil_group_writable, spoil_link, spoil_json, spoil_kind, spoil_size, spoil_folder])
def test_a_note_that_cannot_be_trusted_counts_for_nothing(place, bundle_copy, hashed, spoil):
    loaded = Bundle.load(bundle_copy)
    spoil(note_of(place))
    hashed.clear()
    Bundle.load(bundle_copy)
    assert sorted(hashed) == sorted(loaded.files)


@pytest.mark.parametrize("where", ["off", "/proc/nowhere/at/all"])
def test_without_a_cache_every_file_is_hashed(place, bundle_copy, monkeypatch, hashed, where):
    monkeypatch.setenv(verified.CACHE_VARIABLE, where)
    Bundle.load(bundle_copy)
    hashed.clear()
    loaded = Bundle.load(bundle_copy)
    assert sorted(hashed) == sorted(loaded.files)
    assert not place.exists()


def test_folder_follows_the_environment(monkeypatch):
    for name in (verified.CACHE_VARIABLE, "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", "/home/sensor")
    assert verified.folder() == "/home/sensor/.cache/edge-demist"
    monkeypatch.setenv("XDG_CACHE_HOME", "/var/cache")
    assert verified.folder() == "/var/cache/edge-demist"
    monkeypatch.setenv("XDG_CACHE_HOME", "not/absolute")
    assert verified.folder() is None
    monkeypatch.setenv(verified.CACHE_VARIABLE, "/tmp/here")
    assert verified.folder() == "/tmp/here"


def test_verify_trusts_no_note(place, bundle_copy, capsys):
    """A note forged to say that a damaged file is whole: ``verify`` hashes all the same."""
    Bundle.load(bundle_copy)
    flip(bundle_copy / WEIGHTS)
    body = json.loads(note_of(place).read_text())
    sha256 = body["files"][WEIGHTS].split()[1]
    body["files"][WEIGHTS] = f"{verified.mark((bundle_copy / WEIGHTS).stat())} {sha256}"
    note_of(place).write_text(json.dumps(body))
    Bundle.load(bundle_copy)  # the owner of the cache is believed
    assert cli.main(["verify", str(bundle_copy)]) == 1
    assert "weights.safetensors: SHA-256 differs" in capsys.readouterr().err


def test_nothing_is_left_half_written(place, bundle_copy, monkeypatch, hashed):
    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        Bundle.load(bundle_copy)
    assert list(Path(place).iterdir()) == []
    loaded = Bundle.load(bundle_copy)
    assert len(hashed) == 2 * len(loaded.files)


def test_specialists_are_checked_once_for_a_manifest_and_a_version(place, bundle_copy, monkeypatch):
    read = []
    monkeypatch.setattr(models, "load_specialist", lambda bundle, task: read.append(task))
    bundle = Bundle.load(bundle_copy)
    for _ in range(2):
        models.check_specialists(bundle)
        assert read == list(bundle.tasks)
    files = verified.read_verified(os.fspath(bundle_copy))
    assert Bundle.load(bundle_copy).id == bundle.id and verified.read_verified(os.fspath(bundle_copy)) == files
    monkeypatch.setattr(models, "__version__", "9.9")
    models.check_specialists(bundle)
    assert read == 2 * list(bundle.tasks)
    manifest = bundle_copy / "manifest.json"
    manifest.write_bytes(manifest.read_bytes() + b"\n")
    models.check_specialists(Bundle.load(bundle_copy))
    assert read == 3 * list(bundle.tasks)


def test_specialists_are_checked_every_time_where_every_file_is_hashed(place, bundle_copy, monkeypatch):
    read = []
    monkeypatch.setattr(models, "load_specialist", lambda bundle, task: read.append(task))
    models.check_specialists(Bundle.load(bundle_copy))
    bundle = Bundle.load(bundle_copy, hash_all=True)
    models.check_specialists(bundle)
    models.check_specialists(bundle)
    assert read == 3 * list(bundle.tasks)
