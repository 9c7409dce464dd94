"""Changes of a command line by what may stand around it in each shell, and further writings of the words in it."""

from __future__ import annotations

import base64
import codecs
import random
import re
from collections.abc import Callable, Mapping
from types import MappingProxyType

from tools.synth.evasion.invented_commands import UNIX_PROGRAM, WINDOWS_PROGRAM, is_script, script, unix, within_cmd, within_powershell
from tools.synth.evasion.shared import Change, is_windows
from tools.synth.words import word

_ROT13 = "tr A-Za-z N-ZA-Mn-za-m"
_EXPRESSION = re.compile(r"(?i)\b(?:iex|invoke-expression)\b")
_OPTION = re.compile(r"(?<= )([-/])(?=[A-Za-z])")
_PATH_SLICES = ("%ProgramData:~2,1%", "%SystemRoot:~2,1%", "%windir:~2,1%")


def _quoted(form: str) -> Change:
    """The line inside single quotes, where it has none."""
    return unix(lambda rng, s: form.format(s) if "'" not in s else s)


def _before(prefix: str) -> Change:
    return unix(lambda rng, s: prefix + s)


def _program(form: Callable[[str], str]) -> Change:
    """Another writing of each program's name."""
    return unix(lambda rng, s: UNIX_PROGRAM.sub(lambda m: form(m[1]), s))


def _windows(form: str) -> Change:
    """The line behind a wrapper of Windows."""
    return lambda rng, s: form.format(s) if is_windows(s) else None


def _windows_quoted(form: str) -> Change:
    return lambda rng, s: form.format(s) if is_windows(s) and '"' not in s else None


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _halved(name: str) -> str:
    return f"{name[:2]}X{name[2:]}"


def _among(rng: random.Random, name: str, mark: str) -> str:
    place = rng.randrange(1, len(name)) if len(name) > 1 else 1
    return name[:place] + mark + name[place:]


def _short_slices(rng: random.Random, line: str) -> str:
    return re.sub(r"(?<=[a-z])\\(?=[A-Za-z])", lambda m: rng.choice(_PATH_SLICES), line)


def _function(rng: random.Random, line: str) -> str:
    name = word(rng)
    return f"{name}() {{ {line}; }}; {name}"


def _replaced(rng: random.Random, line: str) -> str:
    """Marks in words, which the script takes out again."""
    bare = script(line)
    return (
        "iex ('" + re.sub(r"(?<=[a-z])(?=[a-z]{2})", lambda m: "~~" * (rng.random() < 0.3), bare) + "'.Replace('~~',''))"
        if "'" not in bare
        else line
    )


def _doubled(form: str) -> Change:
    """What PowerShell runs, inside single quotes of a call, its own doubled."""
    return within_powershell(lambda rng, s: form.format(script(s).replace("'", "''")))


def _hex_list(rng: random.Random, line: str) -> str:
    codes = ",".join(f"0x{ord(c):02x}" for c in script(line))
    return f"iex(-join([char[]]({codes})))"


WRAPPED_COMMAND_CHANGES: Mapping[str, Change] = MappingProxyType(
    {
        "doas": _before("doas "),
        "sudo -n -E": _before("sudo -n -E "),
        "sudo -S -p ''": _before("sudo -S -p '' "),
        "sudo bash -c": _quoted("sudo bash -c '{}'"),
        "sudo nohup": _before("sudo nohup "),
        "su -c": _quoted("su - root -c '{}'"),
        "runuser": _quoted("runuser -u root -- sh -c '{}'"),
        "timeout": _before("timeout 60 "),
        "timeout -k": _before("timeout -k 5 30s "),
        "nice and ionice": _before("nice -n 19 ionice -c 3 "),
        "stdbuf": _before("stdbuf -oL -eL "),
        "time -p": _before("time -p "),
        "builtin": _before("builtin command "),
        "command -p": _program("command -p {}".format),
        "exec -a": _before("exec -a [kworker] "),
        "env -i": _before("env -i PATH=/usr/bin:/bin "),
        "/usr/bin/env": _before("/usr/bin/env "),
        "xargs": _quoted("echo | xargs -I% sh -c '{}'"),
        "xargs alone": _quoted("xargs -n1 sh -c '{}' < /dev/null"),
        "busybox sh -c": _quoted("busybox sh -c '{}'"),
        "/bin/busybox": _program("/bin/busybox {}".format),
        "script -qc": _quoted("script -qc '{}' /dev/null"),
        "flock": _quoted("flock -n /tmp/lock -c '{}'"),
        "systemd-run": _before("systemd-run --quiet --scope "),
        "unshare": _before("unshare -r "),
        "chroot": _quoted("chroot / /bin/sh -c '{}'"),
        "strace": _before("strace -f -o /dev/null "),
        "bash -lc": _quoted("bash -lc '{}'"),
        "bash --norc": _quoted("bash --norc --noprofile -c '{}'"),
        "/bin/sh -ec": _quoted("/bin/sh -ec '{}'"),
        "dash -c": _quoted("dash -c '{}'"),
        "shell in a shell": _quoted("""sh -c "bash -c '{}'\""""),
        "eval in double quotes": unix(lambda rng, s: f'eval "{s}"' if '"' not in s and "$" not in s else s),
        "eval unquoted": _before("eval "),
        "here-document": unix(lambda rng, s: f"bash <<EOF\n{s}\nEOF"),
        "cat <<EOF | sh": unix(lambda rng, s: f"cat <<'EOF' | sh\n{s}\nEOF"),
        "source <(…)": _quoted("source <(echo '{}')"),
        "bash <(echo …)": _quoted("bash <(echo '{}')"),
        "source /dev/stdin": _quoted(". /dev/stdin <<< '{}'"),
        "printf %s | bash": _quoted("printf %s '{}' | bash"),
        "if true": unix(lambda rng, s: f"if true; then {s}; fi"),
        "for": unix(lambda rng, s: f"for i in 1; do {s}; done"),
        "while": unix(lambda rng, s: f"while :; do {s}; break; done"),
        "function": unix(_function),
        "brackets": unix(lambda rng, s: f"({s})"),
        "in the background": unix(lambda rng, s: f"({s} &)"),
        "|| true": unix(lambda rng, s: f"{s} || true"),
        "! before": _before("! "),
        "sleep before": _before("sleep 5; "),
        "cd before": _before("cd /tmp && "),
        "trap": _quoted("trap '{}' EXIT"),
        "disown": unix(lambda rng, s: f"{s} & disown"),
        "$(which …)": _program("$(which {})".format),
        "$(command -v …)": _program("$(command -v {})".format),
        "`which …`": _program("`which {}`".format),
        "name in a variable": unix(lambda rng, s: UNIX_PROGRAM.sub(lambda m: f"p={m[1]}; $p", s, count=1)),
        "name in ${p}": unix(lambda rng, s: UNIX_PROGRAM.sub(lambda m: f"p={m[1]};${{p}}", s, count=1)),
        "default of a variable": _program("${{zz:-{}}}".format),
        "a letter replaced": unix(lambda rng, s: UNIX_PROGRAM.sub(lambda m: f"p={_halved(m[1])};${{p/X/}}", s, count=1)),
        "$* in words": unix(lambda rng, s: UNIX_PROGRAM.sub(lambda m: _among(rng, m[1], "$*"), s)),
        "${!x} in words": unix(lambda rng, s: UNIX_PROGRAM.sub(lambda m: _among(rng, m[1], "${!x}"), s)),
        "${x:-} in words": unix(lambda rng, s: UNIX_PROGRAM.sub(lambda m: _among(rng, m[1], "${x:-}"), s)),
        "$1 in words": unix(lambda rng, s: UNIX_PROGRAM.sub(lambda m: m[1] + "$1", s)),
        "$(true) in words": unix(lambda rng, s: UNIX_PROGRAM.sub(lambda m: _among(rng, m[1], "$(true)"), s)),
        "backticks in words": unix(lambda rng, s: UNIX_PROGRAM.sub(lambda m: _among(rng, m[1], "``"), s)),
        "a back slash first": _program("\\{}".format),
        "a letter in $''": _program(lambda name: f"{name[:1]}$'{name[1:2]}'{name[2:]}"),
        "names in octal": _program(lambda name: "$'" + "".join(f"\\{ord(c):03o}" for c in name) + "'"),
        'names in $"…"': _program('$"{}"'.format),
        "names by printf": _program(lambda name: "$(printf '" + "".join(f"\\x{ord(c):02x}" for c in name) + "')"),
        "names by printf, octal": _program(lambda name: "$(printf '" + "".join(f"\\{ord(c):03o}" for c in name) + "')"),
        "names by echo -e": _program(lambda name: "`echo -e '" + "".join(f"\\x{ord(c):02x}" for c in name) + "'`"),
        "names by base64": _program(lambda name: f"$(base64 -d<<<{_base64(name)})"),
        "names by rev": _program(lambda name: f"$(rev<<<{name[::-1]})"),
        "question marks in paths": _program(lambda name: f"/usr/b?n/{name[:1]}{'?' if len(name) > 3 else name[1:2]}{name[2:]}"),
        "doubled slashes": unix(lambda rng, s: re.sub(r"(?<=[\w ])/(?=\w)(?!/)", "//", s) if "://" not in s else s),
        "/./ in paths": unix(lambda rng, s: re.sub(r"(?<=\w)/(?=\w)", "/./", s) if "://" not in s else s),
        "${IFS%??}": unix(lambda rng, s: s.replace(" ", "${IFS%??}")),
        "$IFS$()": unix(lambda rng, s: s.replace(" ", "$IFS$()")),
        "tr of 13": unix(lambda rng, s: f"echo '{codecs.encode(s, 'rot13')}' | {_ROT13} | sh" if "'" not in s else s),
        "perl of hex": unix(lambda rng, s: f"perl -e 'system pack qq,H*,,qq,{s.encode().hex()},'"),
        "typographic quotes and dashes": unix(lambda rng, s: s.replace(" -", " \u2014").replace("'", "\u2019")),
        "start /min": _windows("start /min {}"),
        'start "" /b': _windows('start "" /b {}'),
        "cmd /v:on /c": _windows("cmd /v:on /c {}"),
        "cmd /s /c": _windows_quoted('cmd.exe /s /c "{}"'),
        "cmd /d /q /k": _windows("cmd /d /q /k {}"),
        "cmd /r": _windows("cmd /r {}"),
        "cmd in cmd": _windows("cmd /c cmd.exe /c {}"),
        "call": within_cmd(lambda rng, s: f"call {s}"),
        "if 1==1": within_cmd(lambda rng, s: f"if 1==1 {s}"),
        "for %i": within_cmd(lambda rng, s: f"cmd /c for %i in (1) do {s}"),
        "conhost": _windows("conhost.exe --headless {}"),
        "forfiles": _windows_quoted('forfiles /p C:\\Windows /m notepad.exe /c "cmd /c {}"'),
        "runas": _windows_quoted('runas /user:admin "{}"'),
        "wmic process": _windows_quoted('wmic process call create "{}"'),
        "powershell of cmd": within_cmd(lambda rng, s: f"powershell -c {s}"),
        "powershell of cmd in quotes": within_cmd(lambda rng, s: f'powershell.exe -NoProfile -c "{s}"' if '"' not in s else s),
        "wsl": unix(lambda rng, s: f"wsl {s}"),
        "wsl -e": _quoted("wsl.exe -e bash -c '{}'"),
        "bash of Windows": _quoted("C:\\Windows\\System32\\bash.exe -c '{}'"),
        "echo before": within_cmd(lambda rng, s: f"echo off & {s}"),
        "a caret at every blank": within_cmd(lambda rng, s: s.replace(" ", " ^")),
        "quotes in names": within_cmd(lambda rng, s: WINDOWS_PROGRAM.sub(lambda m: f'{m[1][:2]}""{m[1][2:]}', s)),
        "letters in quotes of cmd": within_cmd(lambda rng, s: WINDOWS_PROGRAM.sub(lambda m: f'{m[1][:1]}"{m[1][1:3]}"{m[1][3:]}', s)),
        "options in quotes": within_cmd(lambda rng, s: re.sub(r" ([-/][a-z]+)(?= |$)", r' "\1"', s)),
        "slices for back slashes": within_cmd(_short_slices),
        "empty variables": within_cmd(lambda rng, s: WINDOWS_PROGRAM.sub(lambda m: f"{m[1][:2]}%zz%{m[1][2:]}", s)),
        "semicolons for blanks": within_cmd(lambda rng, s: re.sub(r"^(\S+) ", r"\1;", s)),
        "typographic dashes of cmd": within_cmd(lambda rng, s: _OPTION.sub("\u2013", s)),
        "slashes for dashes": within_cmd(lambda rng, s: re.sub(r" -(?=[a-z])", " /", s)),
        "options in upper case": within_cmd(lambda rng, s: re.sub(r" [-/][a-z]+", lambda m: m[0].upper(), s)),
        ".exe left out": within_cmd(lambda rng, s: s.replace(".exe", "", 1)),
        ".EXE in capitals": within_cmd(lambda rng, s: WINDOWS_PROGRAM.sub(lambda m: m[1].upper() + ".EXE", s, count=1)),
        "path with /./": within_cmd(lambda rng, s: WINDOWS_PROGRAM.sub(r"C:\\Windows\\.\\System32\\\1.exe", s, count=1)),
        "path over a folder": within_cmd(lambda rng, s: WINDOWS_PROGRAM.sub(r"C:\\Windows\\Temp\\..\\System32\\\1.exe", s, count=1)),
        "SysWOW64": within_cmd(lambda rng, s: WINDOWS_PROGRAM.sub(r"C:\\Windows\\SysWOW64\\\1.exe", s, count=1)),
        "& { … }": within_powershell(lambda rng, s: f"& {{ {script(s)} }}"),
        "scriptblock": _doubled("[scriptblock]::Create('{}').Invoke()"),
        "Invoke-Command": within_powershell(lambda rng, s: f"Invoke-Command -ScriptBlock {{{script(s)}}}"),
        "InvokeScript": _doubled("$ExecutionContext.InvokeCommand.InvokeScript('{}')"),
        "Start-Job": within_powershell(lambda rng, s: f"Start-Job -ScriptBlock {{ {script(s)} }}"),
        "replaced letters": within_powershell(_replaced),
        "pwsh -c": within_powershell(lambda rng, s: f"pwsh -c {script(s)}"),
        "powershell /c": within_powershell(lambda rng, s: f"powershell /nop /w hidden /c {script(s)}"),
        "powershell -comm": within_powershell(lambda rng, s: f'powershell -nop -comm "{script(s)}"'),
        "ticks in names": within_powershell(lambda rng, s: _EXPRESSION.sub("i`e`x", s)),
        "names in single quotes": within_powershell(lambda rng, s: _EXPRESSION.sub("&'iex'", s)),
        "names with a dot": within_powershell(lambda rng, s: _EXPRESSION.sub(".('ie'+'x')", s)),
        "gcm with a star": within_powershell(lambda rng, s: _EXPRESSION.sub("&(gcm i*x)", s)),
        "an alias set": within_powershell(lambda rng, s: "sal zz iex; " + _EXPRESSION.sub("zz", s) if _EXPRESSION.search(s) else s),
        "format of three": within_powershell(lambda rng, s: _EXPRESSION.sub("&('{2}{0}{1}' -f 'e','x','i')", s)),
        "-join of letters": within_powershell(lambda rng, s: _EXPRESSION.sub("&(-join('i','e','x'))", s)),
        "hexadecimal codes": within_powershell(_hex_list),
        "blanks round dots": within_powershell(lambda rng, s: re.sub(r"(?<=[a-z])\)\.(?=[A-Z])", ") . ", s)),
        "semicolons after": within_powershell(lambda rng, s: s + ";;;"),
        "try": within_powershell(lambda rng, s: f"try {{ {script(s)} }} catch {{ }}" if is_script(s) else s),
    }
)
"""Changes by name; they train nothing."""
