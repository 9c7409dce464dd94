"""What a command line runs in the end: for second looks, which count only where they alarm, so too much may come off.

Each function is linear in the length of its line.  Leaves to :mod:`edge_demist.wrappers` what comes off every line.
"""

from __future__ import annotations

import re

_OPTIONS = r"(?:\s+--?[\w-]+(?:=\S+)?)*"
_WRAPPERS = (
    r"(?:sudo|doas)(?:\s+-(?:[ugpCcrtTh]\s+\S+|[A-Za-z]+|-[\w-]+(?:=\S+)?))*(?:\s+--)?",
    r"nohup|setsid|command|builtin|coproc|eval|source|trap|!|\.(?=\s)|(?:/bin/)?busybox|toybox|stdbuf|unshare|systemd-run|catchsegv",
    r"exec(?:\s+-a\s+\S+|\s+-[cl]+)*|time|nice(?:\s+-n\s?-?\d+)?|ionice(?:\s+-[cnt]\s?\d*)*|chrt\s+\d+|taskset(?:\s+-c)?\s+\S+",
    r"(?:/usr)?(?:/bin/)?env(?:\s+-[iS0-]+)*(?:\s+[A-Za-z_]\w*=\S*)*",
    r"timeout(?:\s+-[ks]\s+\S+|\s+--?\w\S*)*\s+[\d.]+[smhd]?|watch(?:\s+-n\s?[\d.]+|\s+-\w+)*|strace(?:\s+-o\s+\S+|\s+-\S+)*",
    r"flock(?:\s+-\w+)*\s+\S+|chroot\s+\S+|nsenter|runuser(?:\s+-u\s+\S+|\s+-l)*|su(?:\s+-l?)?(?:\s+\w+)?(?=\s+-c)|script(?=\s+-\w*c)",
    r"(?:echo\s*\|\s*)?xargs(?:\s+-\S+)*|parallel|wsl(?:\.exe)?(?:\s+-[eu]|\s+--)*|ssh\s+localhost",
    r"(?:[a-z]:[\w\\]*\\)?cmd(?:\.exe)?(?:\s+/[a-z](?::\w+)?)+|%comspec%(?:\s+/[a-z])+|start(?:\s+\"[^\"]*\")?(?:\s+/\w+)*|call",
    r"echo off\s*&|if\s+\S+==\S+|if\s+true\s*;\s*then|for\s+%+\w\s+in\s+\([^()]*\)\s+do|for\s+\w+\s+in\s+[^;]*;\s*do|while\s+\S+\s*;\s*do",
    r"conhost(?:\.exe)?|runas(?:\s+/\S+)*|forfiles(?:\s+/[pm]\s+\S+)*(?:\s+/c)?|pcalua(?:\.exe)?\s+-a|wmic\s+process\s+call\s+create",
    r"(?:powershell|pwsh)(?:\.exe)?(?:\s+[-/](?:w\w*\s+\w+|e[px]\w*\s+\w+|n\w+|sta|mta|c\w*))*",
    r"(?:/bin/|/usr/bin/)?(?:ba|da|z|k|a)?sh(?:\s+--?[a-z]+)*(?=\s+['\"]|\s*<)|-\w*c(?=\s+['\"])|<<<|<\(|/dev/stdin|(?!LD_|HIST)\w+=[\w./:-]*(?=\s)",
)
_LEADING = re.compile(rf"(?:@?\s*(?:{'|'.join(_WRAPPERS)}){_OPTIONS}(?=[\s'\"(]|\Z)\s*)+", re.IGNORECASE)
"""What stands before a command and runs it."""
_AROUND = re.compile(r"\A(['\"({]+)\s?(.*?)\s?[;)}'\"]*(?:\s+[A-Z/][\w/]*)?\Z", re.DOTALL)
_BEHIND = re.compile(r"(?:\s{0,4}(?:;\s?(?:done|fi|break|true|:)|\|\|\s?(?:true|:)|&\s?disown|[<>&12]{0,4}\s?/dev/null|2>&1|&|;)){1,8}\Z")
WRAPPERS = frozenset(
    b"sudo doas nohup setsid command builtin exec env /usr/bin/env time nice ionice chrt taskset stdbuf busybox /bin/busybox toybox "
    b"timeout systemd-run unshare strace flock chroot nsenter runuser su script "
    b"watch xargs parallel eval source . trap ! coproc wsl wsl.exe runas "
    b"forfiles conhost conhost.exe start call for while if".split()
)
"""First words of lines whose command stands behind them."""
DEEPEST = 4
"""Wrappers around wrappers that come off."""

_NAMING = r"(?:which|command -v|type -p|printf|echo(?: -n?e)?)\s+(?:%s\s+)?['\"]?([\w./-]+)['\"]?"
_NAMED = re.compile(rf"\$\({_NAMING}\)|`{_NAMING}`")
_DECODED = re.compile(r"\$\(echo\s+([^()|]{8,})\|\s?base64 (?:-d|--decode)\s?\)")
_DEFAULT = re.compile(r"\$\{\w{1,16}:?[-=]([\w./-]{2,64})\}")
_REPLACED = re.compile(r"(?:\A|(?<=[;\s'\"]))(\w{1,8})=([\w./-]{2,64});\s?\$\{\1//?([\w]{1,4})/?\}")
_BACKWARDS = re.compile(r"\$\(rev\s?<<<\s?['\"]?([\w./-]{2,64})['\"]?\)")
_IN_DOLLARS = re.compile(r"\$(['\"])([\w./-]{1,64})\1")
_NOTHING = re.compile(r"\$\{!?\w{1,8}(?::?-)?\}|\$\((?:true|:)?\)|\$[*@\d]|``|%\w{1,4}%(?=[a-z])")
"""What a shell makes nothing of, mostly."""
_WORD_IN_QUOTES = re.compile(r"(?<![=\\])(['\"])([\w./:-]{1,64})\1")
_AFTER_JOINT = re.compile(r"(?<=[|;&(])\s?(?:sudo|doas|command|builtin|nohup|exec|env|nice|time|busybox)\s+")
_FOLDER = re.compile(r"(?<![\w./-])/(?:usr/)?(?:local/)?s?bin/(?=[a-z])")
_SLASHES = re.compile(r"(?<![:/])//+(?=[a-z])")
_BACK_SLASH = re.compile(r"(?<=[A-Za-z])\\(?=[A-Za-z])")
_OCTAL = re.compile(r"\\([01][0-7]{2})(?=\\[01][0-7]{2}|['\"])")
_SYSTEM_FOLDER = re.compile(
    r"(?:%(?:systemroot|windir)%|\b[a-z]:\\windows)\\(?:system32|syswow64|sysnative)\\(?:wbem\\|windowspowershell\\v1\.0\\)?(?=[\w-]+)",
    re.IGNORECASE,
)
"""Where Windows finds its programs by itself."""
_BLANK_PROMPT = re.compile(r"(?<=\s)-p\s+(?:''|\"\")(?=\s)")
_PATTERN = re.compile(r"(?<![\w/?*])(?:/[\w?*\[\]]{1,12}){1,4}")
_PROGRAMS = tuple(
    f"{folder}/{name}"
    for folder, names in {
        "/usr/bin": "curl wget python3 python perl php ruby whoami socat base64 ncat tar chmod cat nc id bash",
        "/bin": "cat bash sh nc ping chmod rm cp id wget curl uname ls",
        "/etc": "passwd shadow hosts group crontab",
    }.items()
    for name in names.split()
)
"""What patterns of paths are tried on."""


def core(line: str) -> str:
    """What a command line runs, without any wrapper."""
    for _ in range(DEEPEST):
        bare = line.strip()
        found = _LEADING.match(bare)
        bare = _BEHIND.sub("", bare[found.end() :] if found and found.end() < len(bare) else bare)
        around = None if bare[:2] == "$(" else _AROUND.match(bare)
        bare = around[2] if around and len(around[2]) > 3 else bare
        if bare == line:
            break
        line = bare
    return line


def plainest(line: str) -> str:
    """A line with nothing in its words that a shell would drop or fill in."""
    if "\\" in line:
        line = _SYSTEM_FOLDER.sub("", _OCTAL.sub(lambda m: chr(int(m[1], 8)), line))
        line = line if ":\\" in line or "\\\\" in line else _BACK_SLASH.sub("", line)
    if "$" in line or "`" in line or "%" in line:
        line = _NAMED.sub(lambda m: m[1] or m[2], _DEFAULT.sub(r"\1", line))
        line = _REPLACED.sub(lambda m: re.sub(re.escape(m[3]), "", m[2], flags=re.IGNORECASE), line)
        line = _IN_DOLLARS.sub(r"\2", _BACKWARDS.sub(lambda m: m[1][::-1], line))
        line = _NOTHING.sub("", _DECODED.sub(r"\1", line))
    if "/" in line:
        line = _PATTERN.sub(_of_pattern, line) if "?" in line or "*" in line or "[" in line else line
        line = _SLASHES.sub("/", _FOLDER.sub("", line)).replace(";/", " /")
    line = _AFTER_JOINT.sub(" ", _BLANK_PROMPT.sub("-n", line))
    return _WORD_IN_QUOTES.sub(r"\2", line.replace("^", "").replace('""', "").replace("''", ""))


def _of_pattern(match: re.Match[str]) -> str:
    """The program or file that a pattern of a path names, where it is one of those known."""
    if not set(match[0]) & set("?*["):
        return match[0]
    from fnmatch import fnmatchcase  # few lines hold patterns

    folders = match[0].count("/")
    found = next((path for path in _PROGRAMS if path.count("/") == folders and fnmatchcase(path, match[0])), match[0])
    return found.rpartition("/")[2] if "bin/" in found else found
