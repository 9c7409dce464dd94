"""User agents labelled by a parser that knows devices, apps and crawlers by name, as more training rows for ``user-agent``.

    pip install -e '.[train,agents]'
    python -m tools.train.known_agents --data DATA --out RUN/agents.parquet        # 20 minutes on one core
    python -m tools.train.specialist ... --task user-agent --more RUN/agents.parquet

Whether ``Android 9; HPH07`` is a television is a question of model names. matomo's Device Detector (LGPL-3.0) lists them; its Python
port (PyPI, ``device_detector``) labels here two kinds of strings: agents of the unlabelled corpus, and real agents of the training
table whose model, app or crawler name was replaced by one drawn from the parser's own expressions. Its test fixtures, from which most
of the task's table was made, are not read. Left out: answers that say less than the table's classes (:func:`kind`),
texts of train and dev, texts that equal one of dev once numbers are squashed, which is how the splits were told apart, and libraries
whose name the training table gives to a crawler or a tool.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.metadata
import importlib.resources
import importlib.util
import json
import random
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from edge_demist import EdgeDemist
from edge_demist.io import replacing
from tools.train.data import read_table, sha256_file

MOBILE = frozenset({"smartphone", "tablet", "phablet", "feature phone"})
TELEVISION = frozenset(
    {"tv", "console", "car browser", "smart display", "smart speaker", "wearable", "camera", "peripheral", "portable media player"}
)
# Draws from each expression: there are ten times as many telephones as anything else, and telephones are easily told.
DRAWS = {"smartphone": 0.5, "tablet": 1, "phablet": 1, "desktop": 0}
OTHER_DRAWS = 4
SURE = 0.7
_MODEL = re.compile(r"(?<=[;] )(?P<model>[^;()]{2,40}?)(?= Build/|\)|; wv\))")
_BOTS = (
    "{}", "{}", "{}/1.0", "{}/2.1 (+http://www.{low}.com/bot.html)", "Mozilla/5.0 (compatible; {}/1.0; +https://{low}.com/)",
    "Mozilla/5.0 (compatible; {}; +http://{low}.com/crawler)", "Mozilla/5.0 (compatible; {})",
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko; compatible; {}/1.1) Chrome/120.0.0.0 Safari/537.36",
)  # fmt: skip
_APPS = (
    "{}", "{}", "{}/4.2.1 CFNetwork/1335.0.3 Darwin/21.6.0", "{}/38 CFNetwork/978.0.7 Darwin/18.7.0",
    "{}/1204 CFNetwork/1474 Darwin/23.0.0", "{}/5.0.3 (iPhone; iOS 16.1; Scale/3.00)", "{}/2.3 (Linux; U; Android 11; SM-A515F)",
    "{}/7.1.0 (Android 13; Pixel 6)", "{}/3.9",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 15_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148 {}",
    "Mozilla/5.0 (Linux; Android 12; SM-G991B Build/SP1A.210812.016; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 "
    "Chrome/114.0.5735.196 Mobile Safari/537.36 {}",
)  # fmt: skip
_LIBRARIES = ("{}", "{}", "{}", "{} (linux-gnu x86_64)", "{} (Linux)")


class Name(NamedTuple):
    """A name drawn from one of the parser's expressions, and what it names: a kind of device, ``app``, ``bot`` or ``library``."""

    text: str
    what: str


def kind(bot: bool, category: str, client: str, device: str) -> str:
    """Class of the table that a parser's answer stands for; empty where the two mean different things.

    Scanners are crawlers to the parser, and a browser on a desktop is what it says of every crawler that it does not know. Libraries are
    often crawlers to the lists behind the table: only drawn names of them count (:func:`agrees`).
    """
    if bot:
        return "" if category.startswith("Security") else "crawler-bot"
    if client in ("feed reader", "mediaplayer"):
        return "feed-media-client"
    if client == "library":
        return "http-library"
    if device in TELEVISION:
        return "" if client in ("mobile app", "messaging") else "tv-console-iot"
    if client in ("mobile app", "messaging") and (device in MOBILE or device == "desktop"):
        return "mobile-app"
    return "browser-mobile" if client == "browser" and device in MOBILE else ""


def drawable(expression: str) -> str:
    """An expression without its boundary at the end, and with letters and digits for "anything but"."""
    expression = re.sub(r"\(\?:\[\);/ \]\|\$\)$|\[\);/ \]$", "", expression)
    expression = re.sub(r"\[\^(?:\\.|[^\]\\])*\]|(?<!\\)\.(?=[+*])", "[A-Za-z0-9]", expression)
    expression = re.sub(r"(?:\\d\+(?:\\\.)?)?\[(?:\.\\d|\\d\.)\]\+|\\d\+\[\\d\.\]\*", r"[1-9]\.[0-9]\.[0-9]{1,2}", expression)
    return re.sub(r"(?<=[\])wd])\*", "{0,2}", re.sub(r"(?<=[\])wd])\+", "{1,3}", expression))


def entries() -> Iterator[tuple[str, str]]:
    """The parser's expressions and what each names."""
    yaml = importlib.import_module("yaml")
    root = importlib.resources.files("device_detector") / "regexes" / "upstream"
    for path in sorted(p.name for p in (root / "device").iterdir() if p.name.endswith(".yml")):
        for brand in yaml.safe_load((root / "device" / path).read_text(encoding="utf-8")).values():
            device = brand.get("device", "tv" if "tv" in path or "television" in path else "")
            if not brand.get("models"):
                yield str(brand["regex"]), device
            for model in brand.get("models", ()):
                yield str(model["regex"]), str(model.get("device", device))
    for path, what in (("mobile_apps", "app"), ("feed_readers", "app"), ("mediaplayers", "app")):
        for entry in yaml.safe_load((root / "client" / f"{path}.yml").read_text(encoding="utf-8")):
            yield str(entry["regex"]), what
    for entry in yaml.safe_load((root / "bots.yml").read_text(encoding="utf-8")):
        yield str(entry["regex"]), "bot"


def libraries() -> Iterator[tuple[str, str]]:
    """The parser's expressions for HTTP libraries and what talks like one (``Helm``, ``containerd``)."""
    yaml = importlib.import_module("yaml")
    path = importlib.resources.files("device_detector") / "regexes" / "upstream" / "client" / "libraries.yml"
    for entry in yaml.safe_load(path.read_text(encoding="utf-8")):
        yield str(entry["regex"]), "library"


def names(rng: random.Random, expressions: Iterable[tuple[str, str]]) -> Iterator[Name]:
    """Names drawn from ``expressions`` of the parser, those of rare kinds several times."""
    xeger = importlib.import_module("rstr.xeger")
    draw = xeger.Xeger(rng)
    for expression, what in expressions:
        for _ in range(int(DRAWS.get(what, OTHER_DRAWS) + rng.random())):
            try:
                text = draw.xeger(drawable(expression))
            except (re.error, KeyError, ValueError):  # an expression of the regex module
                break
            text = " ".join(text.split()).strip(" ;/)")
            if 2 <= len(text) <= 60 and text.isprintable():
                yield Name(text, what)


def placed(rng: random.Random, name: Name, carriers: list[str]) -> str:
    """A whole agent with the name in it."""
    if name.what == "library":
        return rng.choice(_LIBRARIES).format(name.text)
    if name.what in ("app", "bot"):
        if "Mozilla" in name.text or len(name.text) > 40:
            return name.text
        low = re.sub(r"[^a-z0-9]", "", name.text.lower())[:20]
        return rng.choice(_BOTS if name.what == "bot" else _APPS).format(name.text, low=low)
    return _MODEL.sub(lambda _: name.text, rng.choice(carriers), count=1)


def template(text: str) -> str:
    """A text with its numbers squashed."""
    return re.sub(r"[0-9]+", "0", text.lower())


def agrees(source: str, label: str) -> bool:
    """Whether a text has a class, and one that its drawn name can have: unknown models are telephones to the parser."""
    what = source.removeprefix("name-")
    if what == "library" or label == "http-library":
        return what == "library" and label == "http-library"
    return label != "" and (label == "tv-console-iot" if what in TELEVISION else label != "tv-console-iot" or what == "corpus")


def product(text: str) -> str:
    """The name that an agent begins with, in lower case."""
    return re.split(r"[/0-9 (;]", text.lower(), maxsplit=1)[0].rstrip("-_.v")


def label_all(texts: list[str]) -> list[str]:
    """Class of each text by the parser, empty where it has none."""
    parser = importlib.import_module("device_detector").DeviceDetector
    found = []
    for number, text in enumerate(texts):
        answer: Any = parser(text).parse()
        category = str((answer.all_details.get("bot") or {}).get("category", "")) if answer.is_bot() else ""
        found.append(kind(answer.is_bot(), category, answer.client_type() or "", answer.device_type() or ""))
        if sys.stderr.isatty() and number % 100 == 0:
            print(f"\r{number}/{len(texts)}", end="", file=sys.stderr)
    if sys.stderr.isatty():
        print(file=sys.stderr)
    return found


def label_by_bundle(texts: list[str]) -> list[str]:
    """Class of each text by the packaged specialist, which learnt the parser's answers; empty where it is not sure, or says a tool."""
    with EdgeDemist.load(None) as model:
        answers = model.classify(texts, task="user-agent")
    return [a.label if a.score >= SURE and a.label not in ("attack-tool", "unknown") else "" for a in answers]


def main(argv: Sequence[str] | None = None) -> int:
    """Write the labelled agents."""
    p = argparse.ArgumentParser(
        prog="python -m tools.train.known_agents", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.add_argument("--data", type=Path, required=True, help="folder with corpus/ and tasks/")
    p.add_argument("--out", type=Path, required=True, help="Parquet file: text, label, source")
    p.add_argument("--corpus", type=int, default=15_000, help="agents of the corpus")
    p.add_argument("--limit", type=int, default=0, help="drawn names (0: all)")
    p.add_argument("--by-bundle", action="store_true", help="labels of the packaged specialist: in a minute instead of twenty")
    p.add_argument("--seed", type=int, default=1)
    args = p.parse_args(argv)
    if missing := [name for name in ("device_detector", "rstr", "yaml") if not importlib.util.find_spec(name)]:
        p.error(f"not installed: {', '.join(missing)}; pip install -e '.[agents]' brings them")
    rng = random.Random(args.seed)
    train, dev = (read_table(args.data, "user-agent", s) for s in ("train", "dev"))
    corpus = list(pd.read_parquet(args.data / "corpus" / "user_agent.parquet")["text"])
    carriers = [t for t in [*train["text"], *rng.sample(corpus, min(20_000, len(corpus)))] if "Android" in t and _MODEL.search(t)]
    drawn = list(names(rng, entries()))
    drawn = rng.sample(drawn, min(args.limit or len(drawn), len(drawn)))
    rows = [(t, "corpus") for t in rng.sample(corpus, min(args.corpus, len(corpus)))]
    rows += [(placed(rng, name, carriers), f"name-{name.what}") for name in drawn]
    rng = random.Random(args.seed)
    rows += [(placed(rng, name, []), "name-library") for name in list(names(rng, libraries()))]
    known, near = {*train["text"], *dev["text"]}, {template(t) for t in dev["text"]}
    frame = pd.DataFrame(rows, columns=["text", "source"]).drop_duplicates("text")
    frame = frame[[t not in known and template(t) not in near for t in frame["text"]]]
    frame["label"] = (label_by_bundle if args.by_bundle else label_all)(list(frame["text"]))
    frame = frame[[agrees(s, x) for s, x in zip(frame["source"], frame["label"], strict=True)]]
    others = {product(t) for t in train["text"][train["label"].isin(["crawler-bot", "attack-tool"])]}
    frame = frame[[x != "http-library" or product(t) not in others for t, x in zip(frame["text"], frame["label"], strict=True)]]
    frame = frame.reset_index(drop=True)
    with replacing(args.out) as stream:
        frame[["text", "label", "source"]].to_parquet(stream)
    record = {
        "command": {k: str(v) for k, v in vars(args).items() if k not in ("data", "out")}, "rows": len(frame),
        "device_detector": importlib.metadata.version("device_detector"), "sha256": sha256_file(args.out),
        "labels": frame["label"].value_counts().to_dict(), "sources": frame["source"].value_counts().to_dict(),
    }  # fmt: skip
    args.out.with_suffix(".json").write_text(json.dumps(record, indent=1) + "\n")
    print(json.dumps(record))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
