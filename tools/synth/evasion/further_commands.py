"""Further changes of a command line, which train nothing."""

from __future__ import annotations

import base64
import gzip
import random
import re
from collections.abc import Callable, Mapping
from types import MappingProxyType

from tools.synth.cmdline import is_powershell
from tools.synth.evasion.shared import Change, is_windows
from tools.synth.words import sentence, word


def _unix(change: Callable[[random.Random, str], str]) -> Change:
    return lambda rng, line: None if is_windows(line) or (new := change(rng, line)) == line else new


_PROGRAM = re.compile(r"\b(?:curl|wget|bash|python3?|perl|chmod|cat)\b")


def _within(form: str) -> Change:
    """Names of programs with something behind their first letter that the shell drops."""
    return _unix(lambda rng, line: _PROGRAM.sub(lambda m: form.format(m[0][0], m[0][1:]), line))


def _powershell(change: Callable[[random.Random, str], str]) -> Change:
    return lambda rng, line: change(rng, line) if is_powershell(line) else None


def _address(form: str, joint: str = ".") -> Change:
    """Hosts given as four numbers in another writing."""

    def change(rng: random.Random, line: str) -> str | None:
        changed = re.sub(
            r"//(\d{1,3}(?:\.\d{1,3}){3})(?=[/:])",
            lambda m: "//" + joint.join(form.format(int(part)) for part in m[1].split(".")),
            line,
        )
        return changed if changed != line else None

    return change


def _decoded_by(form: str, encode: Callable[[str], str]) -> Change:
    return _unix(lambda rng, line: form.format(encode(line)))


def _base64(line: str) -> str:
    return base64.b64encode(line.encode()).decode()


MORE_COMMAND_CHANGES: Mapping[str, Change] = MappingProxyType({
    "100 blanks after each word": lambda rng, line: line.replace(" ", " " * 100),
    "300 blanks before": lambda rng, line: " " * 300 + line,
    "no-break blanks": lambda rng, line: line.replace(" ", "\u00a0"),
    "blanks of no width": lambda rng, line: line.replace(" ", " \u200b"),
    "typographic dashes": lambda rng, line: line.replace(" -", " \u2013") if " -" in line else None,
    "title case": lambda rng, line: " ".join(w[:1].upper() + w[1:] for w in line.split(" ")) if is_windows(line) else None,
    "a caret before every letter": lambda rng, line: (
        "".join("^" + c if c.isalnum() else c for c in line) if is_windows(line) and not is_powershell(line) else None
    ),
    "program in quotes": lambda rng, line: f'"{line.partition(" ")[0]}" {line.partition(" ")[2]}' if " " in line else None,
    "back slashes in words": _within("{}\\{}"),
    "letters in quotes": _within("'{}'{}"),
    "$@ in words": _within("{}$@{}"),
    "words in $'\\x'": _unix(lambda rng, line: _PROGRAM.sub(lambda m: "$'" + "".join(f"\\x{ord(c):02x}" for c in m[0]) + "'", line)),
    "braces of the shell": _unix(lambda rng, line: re.sub(r"^(\w+) ([^\s|;&,]+)", r"{\1,\2}", line)),
    "a group": _unix(lambda rng, line: f"{{ {line}; }}"),
    "$(… | base64 -d)": _decoded_by("$(echo {}|base64 -d)", _base64),
    "eval of base64": _decoded_by('eval "$(echo {} | base64 -d)"', _base64),
    "base64 in braces": _decoded_by("bash -c {{echo,{}}}|{{base64,-d}}|{{bash,-i}}", _base64),
    "base64 of gzip | sh": _decoded_by(
        "echo {} | base64 -d | gunzip | sh", lambda line: base64.b64encode(gzip.compress(line.encode(), mtime=0)).decode()
    ),
    "xxd -r -p | sh": _decoded_by("echo {} | xxd -r -p | sh", lambda line: line.encode().hex()),
    "printf octal | sh": _decoded_by("printf '{}' | sh", lambda line: "".join(f"\\{ord(c):03o}" for c in line)),
    "character codes": _powershell(lambda rng, line: f"powershell -c iex(-join([char[]]({','.join(str(ord(c)) for c in line)})))"),
    "IP in hexadecimal": lambda rng, line: new.replace("//", "//0x") if (new := _address("{:02x}", "")(rng, line)) else None,
    "IP in octal parts": _address("0{:o}"),
    "IP in hexadecimal parts": _address("0x{:x}"),
    "user part before the host": lambda rng, line: new if (new := re.sub(r"//(?=[\w.]+[/:])", f"//{word(rng)}@", line)) != line else None,
    "comment of words after": _unix(lambda rng, line: f"{line} # {re.sub('[^a-z ]', '', sentence(rng))}"),
})  # fmt: skip
"""Further changes of a command line, which train nothing."""
