"""Other spellings of the same words: capitals where Windows ignores case, aliases, long and short options, dashes and slashes.

``tools.train.known_lines`` makes them of hostile and of ordinary lines alike, so that no spelling is a sign of an attack; some of the
changes that are only measured are of the same kinds.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence

from tools.synth.evasion.shared import is_windows

_ALIASES = (
    ("iex", "Invoke-Expression"), ("iwr", "Invoke-WebRequest", "wget", "curl"),
    ("irm", "Invoke-RestMethod"), ("saps", "start", "Start-Process"),
    ("gci", "dir", "ls", "Get-ChildItem"), ("gps", "ps", "Get-Process"),
    ("gwmi", "Get-WmiObject"), ("gcim", "Get-CimInstance"),
    ("sal", "Set-Alias"), ("icm", "Invoke-Command"),
    ("etsn", "Enter-PSSession"), ("nsn", "New-PSSession"), ("spps", "kill", "Stop-Process"),
    ("gsv", "Get-Service"), ("spsv", "Stop-Service"),
    ("sasv", "Start-Service"), ("sp", "Set-ItemProperty"), ("gp", "Get-ItemProperty"),
    ("ni", "New-Item"), ("ri", "del", "rm", "Remove-Item"),
    ("cpi", "copy", "Copy-Item"), ("gc", "type", "cat", "Get-Content"),
    ("ac", "Add-Content"), ("ipmo", "Import-Module"),
    ("%", "ForEach-Object", "foreach"), ("?", "Where-Object", "where"), ("sleep", "Start-Sleep"),
    ("iwmi", "Invoke-WmiMethod"), ("rwmi", "Remove-WmiObject"),
    ("gcm", "Get-Command"), ("scb", "Set-Clipboard"), ("gcb", "Get-Clipboard"),
)  # fmt: skip
_POWERSHELL_OPTIONS = (
    ("-nop", "-NoProfile", "-noprof", "/nop"),
    ("-noni", "-NonInteractive", "-nonint"), ("-ep", "-ExecutionPolicy", "-exec", "-ex", "/ep"),
    ("-w", "-WindowStyle", "-win", "-wi", "/w"),
    ("-enc", "-EncodedCommand", "-e", "-ec", "-enco", "/enc"), ("-c", "-Command", "-com", "/c"),
    ("-f", "-File", "-fi"), ("-nol", "-NoLogo"),
    ("-useb", "-UseBasicParsing"), ("-o", "-OutFile", "-outf"), ("-u", "-Uri"),
    ("-cn", "-ComputerName"), ("-sb", "-ScriptBlock"),
    ("-r", "-Recurse"), ("-arg", "-ArgumentList"), ("-verb", "-Verb"),
)  # fmt: skip
_UNIX_OPTIONS = {
    "curl": (
        ("-s", "--silent"), ("-o", "--output"), ("-k", "--insecure"), ("-d", "--data"), ("-L", "--location"), ("-H", "--header"),
        ("-fsSL", "-f -s -S -L", "--fail --silent --show-error --location"), ("-sSL", "-s -S -L"), ("-F", "--form"),
        ("-T", "--upload-file"), ("-O", "--remote-name"), ("-A", "--user-agent"), ("-x", "--proxy"), ("-X", "--request"),
    ),
    "wget": (
        ("-q", "--quiet"), ("-O", "--output-document"), ("-qO-", "-q -O -", "--quiet --output-document=-", "-O- -q"),
        ("-P", "--directory-prefix"), ("-O-", "-O -", "--output-document=-"),
    ),
    "nc": (("-lvnp", "-nlvp", "-l -v -n -p", "-vnlp"), ("-e", "-c", "--exec")),
    "ncat": (("-e", "--exec", "--sh-exec"), ("-lvnp", "-l -v -n -p")),
    "tar": (("czf", "-czf", "-c -z -f", "--create --gzip --file", "zcf"), ("xzf", "-xzf", "-x -z -f")),
    "useradd": (("-m", "--create-home"), ("-o", "--non-unique"), ("-u", "--uid"), ("-g", "--gid"), ("-s", "--shell")),
    "docker": (("-v", "--volume"), ("-it", "-i -t", "-ti", "--interactive --tty"), ("-d", "--detach")),
    "kubectl": (("-A", "--all-namespaces"), ("-n", "--namespace"), ("-o", "--output")),
    "xmrig": (("-o", "--url"), ("-u", "--user"), ("-p", "--pass"), ("-k", "--keepalive"), ("-B", "--background")),
    "base64": (("-d", "--decode", "-D", "-di"),),
    "rm": (("-rf", "-r -f", "-fr", "--recursive --force", "-Rf"), ("-f", "--force")),
    "iptables": (("-F", "--flush"), ("-A", "--append")),
    "chmod": (("-R", "--recursive"),),
    "shred": (("-u", "--remove"), ("-z", "--zero"), ("-zu", "-z -u")),
    "systemctl": (("--now", "--now --quiet"),),
    "pkill": (("-f", "--full"), ("-9", "-KILL", "-SIGKILL")),
}  # fmt: skip
_SLASHED = re.compile(r"(?<=\s)/(?=[A-Za-z?][\w:]*(?:\s|\Z|=))")
_DASHED = re.compile(r"(?<=\s)-(?=[A-Za-z][\w:]*(?:\s|\Z|=))")
_WORD = re.compile(r"[A-Za-z][\w.-]*")
_SHORT_WORD = re.compile(r"(?<![\w+/=])[A-Za-z]{2,20}(?![\w+/=])")


def _swapped(rng: random.Random, line: str, families: Sequence[Sequence[str]], share: float) -> str:
    """A line in which words of the families stand in another spelling."""
    others = {name.lower(): [one for one in names if one.lower() != name.lower()] for names in families for name in names}

    def other(match: re.Match[str]) -> str:
        found = others.get(match[0].lower())
        return rng.choice(found) if found and rng.random() < share else match[0]

    return re.sub(r"(?<![^\s;|&({'\"])[\w%?/-][\w-]*(?![^\s;|&)}('\"])", other, line)


def aliases(rng: random.Random, line: str) -> str:
    """Cmdlets of PowerShell by another name."""
    return _swapped(rng, line, _ALIASES, 0.8)


def powershell_options(rng: random.Random, line: str) -> str:
    """Options of PowerShell longer or shorter."""
    return _swapped(rng, line, _POWERSHELL_OPTIONS, 0.8) if "-" in line or "/" in line else line


def unix_options(rng: random.Random, line: str) -> str:
    """Options of programs of Unix longer or shorter."""
    families = [family for name, known in _UNIX_OPTIONS.items() if re.search(rf"\b{name}\b", line) for family in known]
    others = {one: [other for other in family if other != one] for family in families for one in family}
    words = [rng.choice(others[word]) if word in others and rng.random() < 0.8 else word for word in line.split(" ")]
    return " ".join(words)


def dashes(rng: random.Random, line: str) -> str:
    """Slashes of a Windows program's options as dashes, or the other way round; cmdlets know dashes alone."""
    if "-" in line.partition(" ")[0]:
        return line
    return _SLASHED.sub("-", line) if " /" in line else _DASHED.sub("/", line)


def capitals_of_programs(rng: random.Random, line: str) -> str:
    """The program, and perhaps what it is told to do, in other capitals (``PowerShell.EXE``, ``ReG SaVe``)."""
    count = rng.choice((1, 1, 2, 3))
    forms: tuple[Callable[[str], str], ...] = (
        str.upper, str.lower, str.capitalize, lambda s: "".join(rng.choice((c.upper(), c.lower())) for c in s),
        lambda s: re.sub(r"\w+", lambda m: m[0].capitalize(), s), lambda s: re.sub(r"\.\w+\Z", lambda m: m[0].upper(), s),
    )  # fmt: skip
    form = rng.choice(forms)
    return _WORD.sub(lambda m: form(m[0]), line, count=count)


def capitals_of_words(rng: random.Random, line: str) -> str:
    """Some words in other capitals, short ones, for others may be base64."""
    form = rng.choice((str.upper, str.lower, str.capitalize, str.swapcase))
    share = rng.choice((0.2, 0.5, 1.0))
    return _SHORT_WORD.sub(lambda m: form(m[0]) if rng.random() < share and not _is_base64(m[0]) else m[0], line)


def _is_base64(text: str) -> bool:
    """Whether letters may be base64, of which case is a part."""
    return len(text) >= 6 and not text.isupper() and sum(map(str.isupper, text)) >= 3


OF_WINDOWS = (aliases, powershell_options, dashes, capitals_of_programs, capitals_of_words)


def spelled(rng: random.Random, line: str) -> str | None:
    """A line in other spellings of what its system reads as the same; None where there is none."""
    changes = rng.sample(OF_WINDOWS, rng.choice((1, 1, 2, 3))) if is_windows(line) else [unix_options]
    new = line
    for change in changes:
        new = change(rng, new)
    return new if new != line else None
