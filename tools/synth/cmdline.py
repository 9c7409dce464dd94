"""Label-preserving changes to command lines: placeholders, wrappers, path forms, and obfuscation.

Placeholders, wrappers and path forms are changed for both classes alike. Obfuscation is what attackers do and
administrators hardly ever: only hostile rows get it, but for ``-EncodedCommand``, which management tools use as well.
Forms: MITRE ATT&CK T1027.010 and T1059, Bohannon's Invoke-DOSfuscation and Invoke-Obfuscation papers, GNU Bash manual.
"""

from __future__ import annotations

import base64
import random
import re
import shlex
from collections.abc import Callable

from tools.synth.cmdline_values import fill_placeholders

MALICIOUS = "malicious"
PLACEHOLDER_RATE, WRAPPER_RATE, PATH_RATE = 0.9, 0.2, 0.15
OBFUSCATION_RATE = 0.25  # of hostile rows
ENCODED_BENIGN_RATE = 0.01  # of ordinary PowerShell rows

# Values of a default installation, of which substrings are cut (``set`` shows them).
ENVIRONMENT = {
    "COMSPEC": r"C:\Windows\System32\cmd.exe",
    "PROGRAMFILES": r"C:\Program Files",
    "PUBLIC": r"C:\Users\Public",
    "PATHEXT": ".COM;.EXE;.BAT;.CMD;.VBS;.VBE;.JS;.JSE;.WSF;.WSH;.MSC",
}

_POWERSHELL = re.compile(
    r"(?i)\b(?:get|set|new|remove|invoke|start|stop|add|import|export|test|out|write|copy|select|where|foreach)-[a-z]+|\$\w+|\biex\b|\[[\w.]+\]::"
)
_CMDLET = re.compile(r"\b[A-Z][a-z]+-[A-Z]\w+")
_WINDOWS = re.compile(
    r"(?i)[a-z]:\\|\\\\|\.(?:exe|dll|bat|cmd|ps1|vbs|msi|msc)\b|%\w+%|\bHK(?:LM|CU|CR)\b|\$env:|"
    r"^(?:net|sc|reg|wmic|schtasks|netsh|ipconfig|tasklist|taskkill|rundll32|regsvr32|certutil|bitsadmin|"
    r"icacls|attrib|wevtutil|dir|type|copy|del)\b.* /\w"
)
_BLOB = re.compile(r"[A-Za-z0-9+/=]{40,}")
_SYSTEM32: tuple[str, ...] = (
    "cmd",
    "net",
    "net1",
    "sc",
    "reg",
    "schtasks",
    "wmic",
    "certutil",
    "rundll32",
    "regsvr32",
    "mshta",
    "bitsadmin",
    "cscript",
    "wscript",
)
_SYSTEM32 += (
    "msiexec",
    "ipconfig",
    "netsh",
    "tasklist",
    "taskkill",
    "whoami",
    "systeminfo",
    "icacls",
    "vssadmin",
    "wevtutil",
    "ping",
    "nslookup",
)
_BIN: tuple[str, ...] = (
    "cat",
    "ls",
    "cp",
    "mv",
    "rm",
    "chmod",
    "chown",
    "curl",
    "wget",
    "find",
    "grep",
    "tar",
    "ssh",
    "python3",
    "perl",
    "bash",
    "awk",
    "sed",
)
_BIN += (
    "tee",
    "touch",
    "mkdir",
    "id",
    "whoami",
    "uname",
    "ps",
    "kill",
    "crontab",
    "systemctl",
    "dd",
    "base64",
    "head",
    "tail",
    "xargs",
    "env",
    "git",
)


def is_powershell(text: str) -> bool:
    """Say whether a text looks like PowerShell source rather than a ``cmd`` or Unix line."""
    return bool(_POWERSHELL.search(text) or _CMDLET.search(text)) and not re.match(r"(?i)(?:cmd|powershell|pwsh)", text.strip('" '))


def is_windows(text: str) -> bool:
    """Guess the platform from paths, extensions, variables and switches."""
    return bool(_WINDOWS.search(text)) or (is_powershell(text) and bool(_CMDLET.search(text)))


# Windows -------------------------------------------------------------------------------------------------------


def carets(rng: random.Random, text: str) -> str:
    """Insert ``^`` before letters outside double quotes; ``cmd`` drops them."""
    share, quoted, out = rng.uniform(0.1, 0.6), False, []
    for char in text:
        quoted ^= char == '"'
        out.append("^" + char if not quoted and char.isalpha() and rng.random() < share else char)
    return "".join(out)


def mixed_case(rng: random.Random, text: str) -> str:
    """Mix the case of letters; Windows names do not care. Long base64 runs stay."""
    kept = [match.span() for match in _BLOB.finditer(text)]
    return "".join(
        char if any(start <= i < end for start, end in kept) else rng.choice((char.lower(), char.upper())) for i, char in enumerate(text)
    )


def environment_substrings(rng: random.Random, text: str) -> str:
    """Write some letters as ``%NAME:~offset,1%`` of variables with known values."""

    def cut(char: str) -> str:
        places = [(name, value.index(char)) for name, value in ENVIRONMENT.items() if char in value]
        if not places or not char.isalpha() or rng.random() > 0.25:
            return char
        name, offset = rng.choice(places)
        return f"%{name}:~{offset},1%"

    head, blank, rest = text.partition(" ")
    return "".join(map(cut, head)) + blank + rest


def expand_substrings(text: str) -> str:
    """Invert :func:`environment_substrings`, as ``cmd`` does."""
    return re.sub(r"%(\w+):~(\d+),1%", lambda match: ENVIRONMENT[match[1]][int(match[2])], text)


def split_quotes(rng: random.Random, text: str) -> str:
    """Put empty double quotes into the command word; ``cmd`` and the C runtime drop them."""
    head, blank, rest = text.partition(" ")
    if len(head) < 3 or '"' in head:
        return text
    place = rng.randrange(1, len(head))
    return f'{head[:place]}""{head[place:]}{blank}{rest}'


def backticks(rng: random.Random, text: str) -> str:
    """Insert backticks into command names, before letters that form no PowerShell escape."""

    def tick(match: re.Match[str]) -> str:
        return "".join("`" + c if i and c.lower() not in "0abefnrtuvx-" and rng.random() < 0.4 else c for i, c in enumerate(match[0]))

    return _CMDLET.sub(tick, text)


def encoded_command(rng: random.Random, text: str) -> str:
    """Hand the line to PowerShell as base64 of UTF-16LE (about_PowerShell_exe, ``-EncodedCommand``)."""
    blob = base64.b64encode(text.encode("utf-16-le")).decode("ascii")
    flag = rng.choice(("-enc", "-EncodedCommand", "-e", "-ec", "-EncodedCommand", "-eNco"))
    options = rng.choice(("", "-NoP ", "-nop -w hidden ", "-NoProfile -NonInteractive ", "-sta -noni ", "-ExecutionPolicy Bypass "))
    return f"{rng.choice(('powershell', 'powershell.exe', 'pwsh'))} {options}{flag} {blob}"


def windows_wrapper(rng: random.Random, text: str) -> str:
    """Run the line through ``cmd`` or PowerShell in one of the usual ways."""
    if is_powershell(text):
        options = rng.choice(("", "-NoProfile ", "-NoLogo -NonInteractive ", "-ExecutionPolicy Bypass "))
        escaped = text.replace('"', '\\"')
        shell = rng.choice(("powershell", "powershell.exe", "pwsh", r"C:\Windows\System32\WindowsPowerShell\v1.0\powershell.exe"))
        return f'{shell} {options}{rng.choice(("-Command", "-c"))} "{escaped}"'
    shell = rng.choice(("cmd", "cmd.exe", r"C:\Windows\system32\cmd.exe", "%COMSPEC%", "CMD.EXE"))
    switch = rng.choice(("/c", "/C", "/d /s /c", "/q /c"))
    return f'{shell} {switch} "{text}"' if rng.random() < 0.5 else f"{shell} {switch} {text}"


def windows_path(rng: random.Random, text: str) -> str:
    """Give a system command its extension or folder, or take them away."""
    head, blank, rest = text.partition(" ")
    name = head.strip('"').rpartition("\\")[2].lower().removesuffix(".exe")
    if name not in _SYSTEM32:
        return text
    folders = (
        "",
        "",
        "C:\\Windows\\System32\\",
        "c:\\windows\\system32\\",
        "%SystemRoot%\\System32\\",
        "%windir%\\system32\\",
        "C:\\Windows\\SysWOW64\\",
    )
    return rng.choice(folders) + name + rng.choice((".exe", ".exe", "")) + blank + rest


# Linux ---------------------------------------------------------------------------------------------------------


def base64_pipe(rng: random.Random, text: str) -> str:
    """Decode the line from base64 and pipe it to a shell."""
    blob = base64.b64encode(text.encode()).decode("ascii")
    decode, shell = rng.choice(("base64 -d", "base64 --decode", "openssl base64 -d -A")), rng.choice(("sh", "bash", "/bin/sh", "bash -i"))
    forms = (
        f"echo {blob} | {decode} | {shell}",
        f"echo -n '{blob}'|{decode}|{shell}",
        f'bash -c "$(echo {blob} | {decode})"',
        f"eval $({decode}<<<{blob})",
    )
    return rng.choice(forms)


def ifs_blanks(rng: random.Random, text: str) -> str:
    """Write the blanks of a line without quotes as ``${IFS}`` or ``$IFS$9``."""
    if any(mark in text for mark in "\"'#=") or " " not in text:
        return text
    return text.replace(" ", rng.choice(("${IFS}", "$IFS$9", "${IFS}")))


def split_word(rng: random.Random, text: str) -> str:
    """Break the command word by quotes, a backslash or an empty expansion."""
    head, blank, rest = text.partition(" ")
    if not re.fullmatch(r"[a-z][\w./-]{2,}", head):
        return text
    place = rng.randrange(1, len(head))
    return head[:place] + rng.choice(("''", '""', "\\", "$@", "${x}")) + head[place:] + blank + rest


def split_variables(rng: random.Random, text: str) -> str:
    """Assemble the command word from two variables."""
    head, blank, rest = text.partition(" ")
    if not re.fullmatch(r"[a-z][\w./-]{2,}", head):
        return text
    first, second = rng.sample("abcdkmpqrstvwxyz", 2)
    place = rng.randrange(1, len(head))
    return f"{first}={head[:place]};{second}={head[place:]};${first}${second}{blank}{rest}"


def linux_wrapper(rng: random.Random, text: str) -> str:
    """Run the line through a shell, ``sudo``, ``nohup`` or with its output sent away."""
    forms = (
        f"{rng.choice(('bash', 'sh', '/bin/sh', '/bin/bash'))} -c {shlex.quote(text)}",
        f"sudo {text}",
        f"sudo {text}",
        f"nohup {text} &",
        f"{text} {rng.choice(('2>/dev/null', '>/dev/null 2>&1', '2>&1'))}",
        f"time {text}",
    )
    choice = rng.choice(forms)
    return text if choice.startswith("sudo") and text.startswith("sudo") else choice


def linux_path(rng: random.Random, text: str) -> str:
    """Give a common command its folder, or take it away."""
    head, blank, rest = text.partition(" ")
    name = head.rpartition("/")[2]
    if name not in _BIN or not head.startswith((name, "/bin/", "/usr/bin/")):
        return text
    return rng.choice(("", "/bin/", "/usr/bin/")) + name + blank + rest


Obfuscation = Callable[[random.Random, str], str]
CMD_OBFUSCATIONS: tuple[Obfuscation, ...] = (carets, mixed_case, environment_substrings, split_quotes, encoded_command)
POWERSHELL_OBFUSCATIONS: tuple[Obfuscation, ...] = (mixed_case, backticks, encoded_command)
LINUX_OBFUSCATIONS: tuple[Obfuscation, ...] = (base64_pipe, ifs_blanks, split_word, split_variables)


def augment(rng: random.Random, text: str, label: str, *, platform: str | None = None, obfuscation_rate: float = OBFUSCATION_RATE) -> str:
    """Change a command line; the label stays true and the text never becomes empty.

    ``platform`` (``windows``, ``linux``, ``macos``) is guessed from the text when it is not given.
    """
    windows = is_windows(text) if platform is None else platform == "windows"
    if rng.random() < PLACEHOLDER_RATE:
        text = fill_placeholders(rng, text)
    if rng.random() < PATH_RATE:
        text = (windows_path if windows else linux_path)(rng, text)
    powershell = windows and is_powershell(text)
    if label == MALICIOUS and len(text) > 5 and rng.random() < obfuscation_rate:
        choices = POWERSHELL_OBFUSCATIONS if powershell else CMD_OBFUSCATIONS if windows else LINUX_OBFUSCATIONS
        text = rng.choice(choices)(rng, text)
    elif powershell and label != MALICIOUS and rng.random() < ENCODED_BENIGN_RATE:
        text = encoded_command(rng, text)
    elif rng.random() < 0.08:  # typed in another case, as people do
        head, blank, rest = text.partition(" ")
        text = (rng.choice((head.upper(), head.lower(), head.capitalize())) if windows else head) + blank + rest
    if rng.random() < WRAPPER_RATE:
        text = (windows_wrapper if windows else linux_wrapper)(rng, text)
    return text
