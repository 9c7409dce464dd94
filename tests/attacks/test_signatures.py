"""Bundles that are unsigned, signed by another, changed, or older: every command that is told to refuses them."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from edge_demist.cli import main, watch
from edge_demist.cli.models import load_model
from edge_demist.cli.options import SIGNATURE_VARIABLE
from edge_demist.errors import SignatureError
from edge_demist.sensor.control import Control
from edge_demist.sensor.runner import Runner
from tests.support.sensor_fakes import read_events, zeek_log
from tests.support.tiny_bundle import write_tiny_bundle

pytest.importorskip("cryptography", reason="signing needs the package cryptography")

from edge_demist.format import keys


class Shop:
    """A vendor with a key and a bundle, and an impostor with another key."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bundle = write_tiny_bundle(folder / "bundle")
        for name in ("vendor", "impostor"):
            keys.generate(folder / f"{name}.pem", folder / f"{name}.pub")
        self.key = folder / "vendor.pub"
        self.release(1)

    def release(self, version: int, signer: str | None = "vendor", name: str = "tiny") -> None:
        """Another version in place of the last, with a signature by ``signer``, or with none."""
        path = self.bundle / "manifest.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"version": version, "name": name}))
        (self.bundle / "manifest.sig").unlink(missing_ok=True)
        if signer:
            keys.sign_bundle(self.bundle, self.folder / f"{signer}.pem")


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    (tmp_path / "in.txt").write_text("a.example\n")
    (tmp_path / "dns.log").write_text(zeek_log("ts uid query", "1.5 C1 a.example"))
    return Shop(tmp_path)


def unsigned(shop: Shop) -> None:
    shop.release(1, None)


def other_key(shop: Shop) -> None:
    shop.release(1, "impostor")


def changed_manifest(shop: Shop) -> None:
    path = shop.bundle / "manifest.json"
    path.write_text(path.read_text() + " ")


def changed_weights(shop: Shop) -> None:
    path = shop.bundle / "weights.safetensors"
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    path.write_bytes(raw)


def borrowed_signature(shop: Shop) -> None:
    stolen = (shop.bundle / "manifest.sig").read_bytes()
    shop.release(2, None)
    (shop.bundle / "manifest.sig").write_bytes(stolen)


def a_private_key(shop: Shop) -> None:
    shop.key.write_bytes((shop.folder / "vendor.pem").read_bytes())


def no_key(shop: Shop) -> None:
    shop.key.unlink()


ATTACKS = [unsigned, other_key, changed_manifest, changed_weights, borrowed_signature, a_private_key, no_key]


def commands(shop: Shop) -> dict[str, list[str]]:
    """A command line of every command that takes the option, without the option."""
    folder, bundle = str(shop.folder), ["--bundle", str(shop.bundle)]
    return {
        "classify": ["classify", *bundle, "--task", "hostname-category", f"{folder}/in.txt"],
        "embed": ["embed", *bundle, f"{folder}/in.txt", "-o", f"{folder}/out.npy"],
        "info": ["info", *bundle],
        "watch": ["watch", *bundle, f"{folder}/dns.log", "--once", "--log", "off", "-o", f"{folder}/out.jsonl"],
        "verify": ["verify", *bundle],
    }


@pytest.mark.parametrize("command", ["classify", "embed", "info", "watch", "verify"])
def test_a_signed_bundle_is_taken(shop: Shop, command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    line = commands(shop)[command]
    assert main([*line, "--require-signature", str(shop.key)]) == 0
    monkeypatch.setenv(SIGNATURE_VARIABLE, str(shop.key))
    assert main(line) == 0


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("command", ["classify", "embed", "info", "watch", "verify"])
def test_an_attack_is_refused(shop: Shop, command: str, attack: Callable[[Shop], None], capsys: pytest.CaptureFixture[str]) -> None:
    attack(shop)
    assert main([*commands(shop)[command], "--require-signature", str(shop.key)]) == (1 if command == "verify" else 2)
    shown = capsys.readouterr()
    assert shown.out == "" and shown.err.startswith("edge-demist")
    assert not list(shop.folder.glob("out*"))


def test_the_environment_refuses_too(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.release(1, None)
    monkeypatch.setenv(SIGNATURE_VARIABLE, str(shop.key))
    codes = {command: main(line) for command, line in commands(shop).items()}
    assert codes == {command: 1 if command == "verify" else 2 for command in codes}
    monkeypatch.setenv(SIGNATURE_VARIABLE, "")
    assert main(commands(shop)["classify"]) == 0


def test_a_bundle_swapped_between_check_and_load_is_refused(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    from edge_demist.format.bundle import Bundle

    load = Bundle.load

    def swapped(*args: object, **options: object) -> object:
        shop.release(7, None)
        return load(*args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Bundle, "load", swapped)
    with pytest.raises(SignatureError, match="changed while it was read"):
        load_model(arguments(shop))


# --- a running sensor -----------------------------------------------------------------------------------------------


def arguments(shop: Shop, *more: str) -> argparse.Namespace:
    """Arguments of a watch that requires the vendor's signature."""
    parser = argparse.ArgumentParser()
    watch.add_parser(parser.add_subparsers())
    line = ["watch", str(shop.folder / "dns.log"), "-o", str(shop.folder / "e.jsonl"), "--bundle", str(shop.bundle)]
    return parser.parse_args([*line, "--require-signature", str(shop.key), "--poll-ms", "0", *more])


class Reloads(Control):
    """At every wait: one step, then a reload; a stop after the last."""

    def __init__(self, steps: list[Callable[[], None]]) -> None:
        super().__init__()
        self._steps = steps

    def wait(self, seconds: float) -> None:
        if not self._steps:
            self.stop = True
            return
        self._steps.pop(0)()
        self.reload = True


def run_with_reloads(shop: Shop, *steps: Callable[[], None], more: tuple[str, ...] = ()) -> tuple[list[int], list[str]]:
    """Versions in use after each reload, and why reloads were refused."""
    versions: list[int] = []
    refused: list[str] = []
    args = arguments(shop, *more)

    def log(event: str, facts: dict[str, object]) -> None:
        if event in ("reloaded", "reload-refused"):
            versions.append(watcher.model.bundle.version)
        if event == "reload-refused":
            refused.append(str(facts["error"]))

    watcher = Runner(watch.config_of(args), lambda: load_model(args), control=Reloads(list(steps)), log=log)
    try:
        watcher.run()
    finally:
        watcher.close()
    return versions, refused


def test_a_reload_takes_only_what_is_signed_and_not_older(shop: Shop) -> None:
    shop.release(3)
    versions, refused = run_with_reloads(
        shop,
        lambda: shop.release(5),
        lambda: shop.release(6, None),
        lambda: shop.release(6, "impostor"),
        lambda: shop.release(4),
        lambda: shop.release(6),
        lambda: changed_weights(shop),
    )
    assert versions == [5, 5, 5, 5, 6, 6]
    for wanted, why in zip(("not signed", "does not verify", "version 4 is older than 5", "weights.safetensors"), refused, strict=True):
        assert wanted in why
    assert len(read_events(shop.folder / "e.jsonl")) > 0


def test_without_a_required_signature_a_reload_still_does_not_go_back(shop: Shop) -> None:
    shop.release(3, None)
    args = arguments(shop)
    args.require_signature = None
    watcher = Runner(watch.config_of(args), lambda: load_model(args), control=Reloads([lambda: shop.release(2, None)]))
    watcher.run()
    watcher.close()
    assert watcher.model.bundle.version == 3 and watcher.gauges().reloads == {"refused": 1}


def test_the_highest_version_outlives_a_restart(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    state = str(shop.folder / "state")
    shop.release(3)
    versions, refused = run_with_reloads(shop, lambda: shop.release(5), more=("--state", state))
    assert versions == [5] and not refused
    assert json.loads((shop.folder / "state" / "bundle-versions.json").read_text())["tiny"] == 5
    shop.release(4)
    line = [*commands(shop)["watch"], "--require-signature", str(shop.key), "--state", state]
    assert main(line) == 2
    shown = capsys.readouterr().err
    assert "version 4 is older than 5" in shown and "bundle-versions.json" in shown
    (shop.folder / "state" / "bundle-versions.json").write_text("{")
    assert main(line) == 2 and "damaged" in capsys.readouterr().err
    (shop.folder / "state" / "bundle-versions.json").unlink()
    assert main(line) == 0


def test_a_version_that_fails_its_self_test_is_not_remembered(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_model: object) -> None:
        raise SignatureError("self-test: odd")

    monkeypatch.setattr("edge_demist.sensor.runner.self_test", fails)
    versions, refused = run_with_reloads(shop, lambda: shop.release(9), more=("--state", str(shop.folder / "state")))
    assert versions == [1] and "self-test" in refused[0]
    assert json.loads((shop.folder / "state" / "bundle-versions.json").read_text())["tiny"] == 1
