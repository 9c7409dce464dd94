"""Changes of a command line thought of after the others: wrappers, variables, other names of programs and options."""

from __future__ import annotations

import base64
import random
import re
from collections.abc import Callable, Mapping
from types import MappingProxyType

from tools.synth.cmdline import is_powershell
from tools.synth.evasion.shared import Change, is_windows
from tools.synth.words import sentence, word

UNIX_PROGRAM = re.compile(r"(?<![\w/.-])(curl|wget|bash|python3?|perl|php|ruby|chmod|cat|nc|ncat|socat|rm|cp|tar)(?= )")
WINDOWS_PROGRAM = re.compile(
    r"(?i)(?<![\w\\.-])(certutil|mshta|regsvr32|rundll32|bitsadmin|vssadmin|wmic|bcdedit|net|schtasks|reg|powershell|cmd)(?:\.exe)?(?= )"
)
_IEX = re.compile(r"(?i)\b(?:iex|invoke-expression)\b")
_AMONG_LETTERS = re.compile(r"(?i)(?<=[b-z])(?=[c-df-mo-qswxyz][a-z])")
_DECODED = "[Text.Encoding]::{}.GetString([Convert]::FromBase64String('{}'))"
_SHORT = re.compile(r"((?:curl|wget) (?:\S+ )?)-(fsSL|sSL|s|q|O|o)\b")
_LONG = {"fsSL": "--fail --silent --show-error --location", "sSL": "--silent --show-error --location", "s": "--silent", "q": "--quiet"}
_LONG |= {"O": "--output-document", "o": "--output"}
_ALIASES = {
    "iex": "Invoke-Expression",
    "iwr": "Invoke-WebRequest",
    "invoke-webrequest": "curl",
    "invoke-expression": "iex",
    "irm": "Invoke-RestMethod",
}
_ALIASES |= {"start-process": "saps", "get-process": "gps", "invoke-restmethod": "irm", "new-object": "New-Object"}


def _only(rule: Callable[[str], bool], change: Callable[[random.Random, str], str]) -> Change:
    """The change of lines that ``rule`` names, where it changes anything."""
    return lambda rng, line: new if rule(line) and (new := change(rng, line)) != line else None


def unix(change: Callable[[random.Random, str], str]) -> Change:
    """The change of lines of Unix."""
    return _only(lambda line: not is_windows(line), change)


def within_cmd(change: Callable[[random.Random, str], str]) -> Change:
    """The change of lines of ``cmd``."""
    return _only(lambda line: is_windows(line) and not is_script(line), change)


def is_script(line: str) -> bool:
    """Whether a line is one of PowerShell."""
    return is_powershell(line) or bool(re.match(r"(?i)powershell.*[(-]", line))


def within_powershell(change: Callable[[random.Random, str], str]) -> Change:
    """The change of lines of PowerShell."""
    return _only(is_script, change)


def _base64(text: str, form: str = "utf-8") -> str:
    return base64.b64encode(text.encode(form)).decode()


def script(line: str) -> str:
    """What a line of PowerShell runs, without the program before it."""
    return (
        re.sub(r"(?i)^powershell(?!.*\s-file\s)(?:\.exe)?(?:\s+-\w+(?:\s+(?:bypass|hidden))?)*\s+(?=\W?[a-z(])", "", line).strip('"')
        or line
    )


def _letters(rng: random.Random, line: str) -> str:
    """A variable for two halves of a program's name."""
    return UNIX_PROGRAM.sub(lambda m: f"a={m[1][:2]};b={m[1][2:]};$a$b" if len(m[1]) > 2 else m[0], line, count=1)


def _set(rng: random.Random, line: str) -> str:
    return WINDOWS_PROGRAM.sub(lambda m: f'cmd /c "set a={m[1][:3]}&& set b={m[1][3:]}&& call %a%%b%', line, count=1) + '"'


def _aliases(rng: random.Random, line: str) -> str:
    return re.sub(r"(?i)(?<![\w.-])([a-z]+(?:-[a-z]+)?)(?![\w-])", lambda m: _ALIASES.get(m[1].lower(), m[1]), line)


def _plain(rng: random.Random) -> str:
    return re.sub("[^a-z ]", "", sentence(rng))


def _marked(rng: random.Random, line: str) -> str:
    """A caret before some letters, empty quotes behind others."""
    marks = {0: "^{}", 1: '{}""'}
    return "".join(marks.get(rng.randrange(4), "{}").format(c) if c.isalpha() else c for c in line)


def _codes(rng: random.Random, line: str) -> str:
    return re.sub(r"(?i)\biex\b", "& ([char]105+[char]101+[char]120)", line)


INVENTED_COMMAND_CHANGES: Mapping[str, Change] = MappingProxyType(
    {
        "sh -c": unix(lambda rng, s: f"sh -c '{s}'" if "'" not in s else s),
        "bash -c in double quotes": unix(lambda rng, s: f'/bin/bash -c "{s}"' if '"' not in s and "$" not in s else s),
        "eval": unix(lambda rng, s: f"eval '{s}'" if "'" not in s else s),
        "bash <<<": unix(lambda rng, s: f"bash <<< '{s}'" if "'" not in s else s),
        "echo | bash": unix(lambda rng, s: f"echo '{s}' | bash" if "'" not in s else s),
        "sudo": unix(lambda rng, s: f"sudo {s}"),
        "sudo -u root env": unix(lambda rng, s: f"sudo -u root env LANG=C {s}"),
        "nohup … &": unix(lambda rng, s: f"nohup {s} >/dev/null 2>&1 &"),
        "setsid": unix(lambda rng, s: f"setsid {s}"),
        "busybox": unix(lambda rng, s: UNIX_PROGRAM.sub(r"busybox \1", s)),
        "command": unix(lambda rng, s: UNIX_PROGRAM.sub(r"command \1", s)),
        "full paths": unix(lambda rng, s: UNIX_PROGRAM.sub(r"/usr/bin/\1", s)),
        "halves in variables": unix(_letters),
        "address in a variable": unix(lambda rng, s: re.sub(r"^(.*?)(https?://[\w./:-]+)(.*)$", r"u=\2; \1$u\3", s)),
        "slices for slashes": unix(lambda rng, s: s.replace("/", "${PATH:0:1}")),
        "slices for slashes, $HOME": unix(lambda rng, s: s.replace("/", "${HOME:0:1}")),
        "${x} in words": unix(lambda rng, s: UNIX_PROGRAM.sub(lambda m: f"{m[1][:1]}${{x}}{m[1][1:]}", s)),
        "$() in words": unix(lambda rng, s: UNIX_PROGRAM.sub(lambda m: f"{m[1][:1]}$(){m[1][1:]}", s)),
        "a quote at every letter": unix(lambda rng, s: UNIX_PROGRAM.sub(lambda m: "".join(f"'{c}'" for c in m[1]), s)),
        "back slashes everywhere": unix(lambda rng, s: re.sub(r"(?<=[a-z])(?=[a-z])", r"\\", s) if "'" not in s and '"' not in s else s),
        "words in quotes": unix(lambda rng, s: " ".join(f'"{w}"' if re.fullmatch(r"[\w./:-]+", w) else w for w in s.split(" "))),
        "lines continued": unix(lambda rng, s: s.replace(" ", " \\\n")),
        "line ends for semicolons": unix(lambda rng, s: re.sub(r"\s*;\s*|\s*&&\s*", "\n", s)),
        "comments between lines": unix(lambda rng, s: f"# {_plain(rng)}\n{s}\n# {_plain(rng)}"),
        "assignments before": unix(lambda rng, s: f"LANG=C TERM=xterm {word(rng).upper()}=1 {s}"),
        "what goes wrong thrown away": unix(lambda rng, s: f"{s} 2>/dev/null"),
        "long options": unix(lambda rng, s: _SHORT.sub(lambda m: m[1] + _LONG[m[2]], s)),
        "base64 --decode": unix(lambda rng, s: f"echo '{_base64(s)}' | base64 --decode | bash"),
        "base64 -d <<<": unix(lambda rng, s: f"bash <<< $(base64 -d <<< {_base64(s)})"),
        "base64 into xargs": unix(lambda rng, s: f'sh -c "$(echo {_base64(s)} | base64 -d)"'),
        "openssl base64": unix(lambda rng, s: f"echo {_base64(s)} | openssl base64 -d -A | sh"),
        "base32 -d": unix(lambda rng, s: f"echo {base64.b32encode(s.encode()).decode()} | base32 -d | sh"),
        "rev": unix(lambda rng, s: f"echo '{s[::-1]}' | rev | sh" if "'" not in s else s),
        "$'\\NNN' throughout": unix(lambda rng, s: "eval $'" + "".join(f"\\{ord(c):03o}" for c in s) + "'" if s.isascii() else s),
        "echo -e of \\x": unix(lambda rng, s: 'echo -e "' + "".join(f"\\x{b:02x}" for b in s.encode()) + '" | bash'),
        "xxd of lines": unix(lambda rng, s: f"xxd -r -p <<< {s.encode().hex()} | sh"),
        "cmd /c": _only(is_windows, lambda rng, s: f"cmd.exe /c {s}"),
        "cmd /c in quotes": _only(is_windows, lambda rng, s: f'C:\\Windows\\System32\\cmd.exe /q /c "{s}"'),
        "%COMSPEC%": _only(is_windows, lambda rng, s: f"%COMSPEC% /c {s}"),
        "start /b": _only(is_windows, lambda rng, s: f"cmd /c start /b {s}"),
        "full Windows paths": within_cmd(lambda rng, s: WINDOWS_PROGRAM.sub(r"C:\\Windows\\System32\\\1.exe", s)),
        "paths by variable": within_cmd(lambda rng, s: WINDOWS_PROGRAM.sub(r"%SystemRoot%\\System32\\\1.exe", s)),
        "slashes for back slashes": within_cmd(lambda rng, s: WINDOWS_PROGRAM.sub(r"C:/Windows/System32/\1.exe", s)),
        "halves set": within_cmd(_set),
        "commas for blanks": within_cmd(lambda rng, s: re.sub(r"^(\S+) ", r"\1,;,", s)),
        "brackets around": within_cmd(lambda rng, s: f"(({s}))"),
        "carets and quotes": within_cmd(_marked),
        "dashes for slashes": within_cmd(lambda rng, s: re.sub(r" /(?=[a-z])", " -", s)),
        "@ and blanks before": _only(is_windows, lambda rng, s: f"   @{s}" if not is_script(s) else s),
        "aliases": within_powershell(_aliases),
        "IEX of codes": within_powershell(_codes),
        "names in quotes called": within_powershell(lambda rng, s: _IEX.sub(lambda m: f"&('{m[0][:2]}'+'{m[0][2:]}')", s)),
        "names by format": within_powershell(lambda rng, s: _IEX.sub(lambda m: f"&(\"{{1}}{{0}}\" -f '{m[0][1:]}','{m[0][:1]}')", s)),
        "-e": within_powershell(lambda rng, s: f"powershell -e {_base64(script(s), 'utf-16-le')}"),
        "-enc with others": within_powershell(lambda rng, s: f"powershell.exe -NoP -NonI -Enc {_base64(script(s), 'utf-16-le')}"),
        "/EncodedCommand in quotes": within_powershell(
            lambda rng, s: f'pwsh /ep bypass /EncodedCommand "{_base64(script(s), "utf-16-le")}"'
        ),
        "-ec": within_powershell(lambda rng, s: f"powershell -nologo -ec {_base64(script(s), 'utf-16-le')}"),
        "FromBase64String": within_powershell(lambda rng, s: f'powershell -c "iex ({_DECODED.format("UTF8", _base64(script(s)))})"'),
        "FromBase64String of UTF-16": within_powershell(
            lambda rng, s: f"iex({_DECODED.format('Unicode', _base64(script(s), 'utf-16-le'))})"
        ),
        "powershell -Command": within_powershell(lambda rng, s: f'powershell.exe -NoProfile -Command "& {{{script(s)}}}"'),
        "comment blocks between words": within_powershell(lambda rng, s: re.sub(r"(?<=[A-Za-z]) (?=[-\w(])", " <#x#> ", s)),
        "backticks and case": within_powershell(lambda rng, s: _AMONG_LETTERS.sub(lambda m: "`" * (rng.random() < 0.3), s.swapcase())),
        "typographic quotes": within_powershell(lambda rng, s: s.replace("'", "\u2019").replace('"', "\u201d")),
        "horizontal bars for dashes": within_powershell(lambda rng, s: s.replace(" -", " \u2015")),
        "$env:comspec slices": within_powershell(lambda rng, s: re.sub(r"(?i)\biex\b", "& $env:ComSpec[4,15,25]-join''", s)),
        "reversed": within_powershell(lambda rng, s: f"iex(-join('{script(s)[::-1]}'[-1..-{len(script(s))}]))" if "'" not in s else s),
    }
)
"""Changes by name; they train nothing."""
