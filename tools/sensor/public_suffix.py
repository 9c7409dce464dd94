"""Make ``edge_demist/sensor/public_suffix.txt`` from the list of https://publicsuffix.org/list/public_suffix_list.dat.

    python -m tools.sensor.public_suffix public_suffix_list.dat

The PyPI package ``publicsuffixlist`` carries the list under its date; ``--package`` takes it from there.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from edge_demist.sensor.public_suffix import LIST

SOURCE = "https://publicsuffix.org/list/public_suffix_list.dat, Mozilla Public License 2.0 (https://mozilla.org/MPL/2.0/)"


def convert(text: str) -> str:
    """The rules of the list, in ASCII form, sorted within its two parts."""
    version = re.search(r"^// VERSION: (\S+)", text, re.M)
    parts: dict[str, set[str]] = {"icann": set(), "private": set()}
    part = ""
    for line in text.splitlines():
        begin = re.match(r"// ===BEGIN (ICANN|PRIVATE) DOMAINS===", line)
        part = begin[1].lower() if begin else part
        rule = line.split(" ", 1)[0].strip().lower()
        if rule and not rule.startswith("//"):
            parts[part].add(".".join(label if label in ("*", "!") else _ascii(label) for label in rule.split(".")))
    head = [f"# {version[1] if version else 'unknown version'}", f"# {SOURCE}"]
    return "\n".join(head + [row for name in ("icann", "private") for row in (f"[{name}]", *sorted(parts[name]))]) + "\n"


def _ascii(label: str) -> str:
    mark, bare = ("!", label[1:]) if label.startswith("!") else ("", label)
    return mark + (bare if bare.isascii() else bare.encode("idna").decode("ascii"))


def main() -> None:
    """Read the list, write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("list", nargs="?", type=Path, help="public_suffix_list.dat")
    source.add_argument("--package", action="store_true", help="take the list of the installed package publicsuffixlist")
    args = parser.parse_args()
    path = args.list
    if args.package:
        import publicsuffixlist

        path = Path(publicsuffixlist.__file__).with_name("public_suffix_list.dat")
    text = convert(path.read_text(encoding="utf-8"))
    LIST.write_text(text, encoding="ascii")
    print(f"{LIST}: {text.count(chr(10))} lines, {len(text)} bytes")


if __name__ == "__main__":
    main()
