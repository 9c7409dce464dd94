"""Days of a made-up network: ordinary traffic, what looks like trouble and is none, and intrusions that are known.

    python -m tools.days OUT [--days 12] [--seed 1] [--eve] [--version-6] [--background ../shared/data/sensor-days]

OUT gets one folder a day in the form of the shared sensor days: ``logs/`` (Zeek, JSON; with ``--eve`` Suricata), ``truth.jsonl``,
``grey.txt``; each third day has no intrusion. The same seed gives the same traffic in each form, so that forms can be compared. With
``--background`` ordinary clients of those days are mixed in, under other addresses and at other hours.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from edge_demist.sensor.incidents.observation import Observation, is_address, is_internal
from tools.days.intrusions import INTRUSIONS
from tools.days.ordinary import DAY, NOISE, browsing
from tools.days.track import Episode, write_day

T0 = 1_775_001_600
"""A midnight (UTC)."""
SERVER = "10.77.0.80"


def borrowed(found: Mapping[str, Sequence[Observation]], days: Path) -> tuple[list[list[Observation]], set[str]]:
    """Records of clients that no episode of their day names, by client; and all names that count neither way."""
    tracks: list[list[Observation]] = []
    grey: set[str] = set()
    for day, seen in found.items():
        truth = [json.loads(line) for line in (days / day / "truth.jsonl").read_text(encoding="utf-8").splitlines()]
        left_out = {name for one in truth for name in (*one["clients"], *one["addresses"], *one["targets"])}
        grey |= {line.split("#")[0].strip() for line in (days / day / "grey.txt").read_text(encoding="utf-8").splitlines()}
        by_client: dict[str, list[Observation]] = {}
        for one in seen:
            if not {one.client, one.server} & left_out:
                by_client.setdefault(one.client, []).append(one)
        tracks += by_client.values()
    return tracks, grey - {""}


def moved(seen: Sequence[Observation], client: str, start: float, rng: random.Random) -> list[Observation]:
    """A track as another client's, at most two hours earlier or later, within the day."""
    shift = rng.uniform(-7200, 7200)
    times = [((one.time_us / 1e6 + shift) % DAY + start) * 1e6 for one in seen]
    return [replace(one, client=client, time_us=int(time)) for one, time in zip(seen, times, strict=True)]


def in_version_6(seen: Sequence[Observation], episodes: Sequence[Episode]) -> None:
    """Put IPv6 addresses in place of all others: unique local ones for the network's own, global ones for the rest."""

    def other(text: str) -> str:
        if not is_address(text) or ":" in text:
            return text
        a, b, c, d = map(int, text.split("."))
        return f"{'fd77:' if is_internal(text) else '2a0d:'}:{a:x}{b:02x}:{c:x}{d:02x}"

    for one in (*seen, *(one for episode in episodes for one in episode.track.seen)):
        name = other(one.name)
        one.client, one.server, one.name = other(one.client), other(one.server), name if name == one.name else f"[{name}]"
        one.answers = tuple(other(answer) for answer in one.answers)
        one.query_type = "AAAA" if one.query_type == "A" else one.query_type
    for episode in episodes:
        episode.track.client = other(episode.track.client)
        episode.addresses, episode.targets = [other(a) for a in episode.addresses], [other(a) for a in episode.targets]


def make_day(
    rng: random.Random, start: float, kinds: Sequence[str], noise: Sequence[str], background: Sequence[Sequence[Observation]] = ()
) -> tuple[list[Observation], list[Episode]]:
    """Ordinary records and the episodes of one day."""
    clients = [f"10.77.{rng.randrange(1, 9)}.{host}" for host in rng.sample(range(1, 254), 24)]
    seen = [one for track in browsing(rng, clients[:12], start) for one in track.seen]
    for name in noise:
        some = rng.sample(clients, rng.randint(1, 10))
        seen += [one for track in NOISE[name](rng, some, start) for one in track.seen]
    for number, track in enumerate(background):
        seen += moved(track, f"10.77.20.{number + 1}", start, rng)
    victims = rng.sample(clients, len(kinds))
    episodes = []
    for kind, victim in zip(kinds, victims, strict=True):
        begin = start + rng.uniform(6, 19) * 3600
        episodes.append(rng.choice(INTRUSIONS[kind])(rng, SERVER if kind == "scan" else victim, begin))
    return seen, episodes


def make_days(
    out: Path,
    count: int,
    seed: int,
    background: Sequence[Sequence[Observation]] = (),
    grey: Sequence[str] = (),
    *,
    quiet: bool = False,
    eve: bool = False,
    version_6: bool = False,
) -> int:
    """So many days; the number of records. ``quiet``: none has an intrusion; ``version_6``: clients and servers have IPv6 addresses."""
    rng, records, order = random.Random(seed), 0, list(INTRUSIONS)
    upcoming: list[str] = []
    for number in range(count):
        kinds: list[str] = []
        while not quiet and number % 3 != 2 and len(kinds) < 4:  # every kind as often as the others
            if not upcoming:
                upcoming = rng.sample(order, len(order))
            kinds.append(upcoming.pop())
        noise = rng.sample(list(NOISE), 6)
        tracks = rng.sample(list(background), min(len(background), 12))
        seen, episodes = make_day(rng, T0 + number * DAY, kinds, noise, tracks)
        if version_6:
            in_version_6(seen, episodes)
        records += write_day(out / f"day-{number + 1:02}", seen, episodes, grey, eve=eve)
    return records


def main() -> None:
    """Make them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="new folder")
    parser.add_argument("--days", type=int, default=12)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--eve", action="store_true", help="events of Suricata")
    parser.add_argument("--version-6", action="store_true", help="IPv6 addresses")
    parser.add_argument("--quiet", action="store_true", help="no intrusion at all")
    parser.add_argument("--background", type=Path, help="folder of days whose ordinary clients are mixed in")
    parser.add_argument("--cache", type=Path, help="observations of these days, as tools.sensor.fit_incidents keeps them")
    args = parser.parse_args()
    tracks: list[list[Observation]] = []
    grey: set[str] = set()
    if args.background:
        from tools.sensor.fit_incidents import day_folders, observations

        tracks, grey = borrowed(observations(day_folders(args.background), None, args.cache), args.background)
    records = make_days(args.out, args.days, args.seed, tracks, sorted(grey), quiet=args.quiet, eve=args.eve, version_6=args.version_6)
    made = {"days": args.days, "seed": args.seed, "records": records}
    (args.out / "made.json").write_text(json.dumps(made) + "\n", encoding="utf-8")
    print(f"{records:,} records")


if __name__ == "__main__":
    main()
