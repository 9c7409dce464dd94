"""Takes off what stands around a command or a value and changes nothing of what runs: wrappers, comments, scaffolding, spare quotes.

Each function is linear in the length of its text and leaves a text as it is that has nothing of its kind.  Leaves encodings to
:mod:`edge_demist.decoding`, and to :mod:`edge_demist.normalizers` what belongs to which kind of text.
"""

from __future__ import annotations

import re

_FOLDERS = r"(?:HOME|OLDPWD|PATH|PWD|SHELL)"
_SLICE = re.compile(rf"\$\{{{_FOLDERS}(?::0:1|%%[\w?]\*|%%\[[\w^!-]{{1,8}}\]\*)\}}", re.IGNORECASE)
"""A path's first letter: the slash (``${PATH:0:1}``)."""
_COMSPEC = re.compile(r"\$env:comspec\s?\[([\d,\s]{1,24})\](?:\s?-join\s?(?:''|\"\"))?", re.IGNORECASE)
_COMSPEC_VALUE = r"C:\WINDOWS\system32\cmd.exe"
_REVERSED = re.compile(r"-join\s?\(?\s?(?:'([^']{4,8192})'|\"([^\"]{4,8192})\")\[\s?-1\s?\.\.\s?-\s?\d{1,5}\s?\]\s?\)?", re.IGNORECASE)
_TAKEN_OUT = re.compile(r"'([^']{4,8192})'(?:\.replace\(|\s?-c?replace\s?)'([^'\\]{1,8})'\s?,\s?(?:''|\[string\]::empty)\)?", re.IGNORECASE)
_OF_DOT_NET = re.compile(
    r"\[(?:system\.)?text\.encoding\]::\w{3,16}\.getstring\(\s?\[(?:system\.)?convert\]::frombase64string\(\s?['\"]?([^'\"]*)['\"]?\s?\)\s?\)",
    re.IGNORECASE,
)
_LETTERS = re.compile(r"(?<![\w\\:.])[A-Za-z](?:\\[A-Za-z]){2,}(?![\w\\])")
"""Letters with a back slash before each: the shell drops it, and no path has such folders."""
_WITHIN_PATH = re.compile(r"(?:(?<=[\s=;|&<>])|\A)/[\w/-]*[a-z]\\[a-z][\w/\\-]*")
_ASSIGNED = r"(?!LD_|PATH|HIST|BASH|PROMPT|PYTHON|PERL|IFS)[A-Z_]{1,32}=[\w.:-]{0,32}"
"""A setting of no consequence before a command."""
_RUNNERS = frozenset(("nohup", "setsid", "command", "exec", "env", "time", "nice", "stdbuf", "busybox"))
_WRAPPER = re.compile(
    r"\A(?:@?\s*(?:nohup|setsid|command|exec|env|time|nice(?:\s+-n\s+-?\d+)?|stdbuf\s+-\w+"
    rf"|busybox(?=\s+[a-z])|{_ASSIGNED})\s+(?=[\w./\"'$\\]))+"
)
_PROGRAM_PATH = re.compile(r"(?:(?<=[|;&(`]\s)|(?<=[|;&(`])|\A)/(?:usr/)?(?:local/)?s?bin/(?=[a-z][\w.-]*(?:\s|\Z))")
_SHELL_C = re.compile(r"\A(?:(?:ba|da|z|k|a)?sh\s+-l?i?c|eval|(?:ba|da|z|k|a)?sh\s+<<<)\s+(?:'([^']*)'|\"([^\"`\\$]*)\")\s*\Z")
_COMMENT_LINE = re.compile(r"(?:\A|(?<=\n))[ \t]*#(?!!)[\w ,.'\t-]*(?:\n|\Z)")
_COMMENT_BLOCK = re.compile(r"<#[\w ,.'\s-]*#>")
_CONTINUED = re.compile(r"[\\`]\r?\n")
_BRACKETS = re.compile(r"\A\(+\s?([^()]*)\)+\s*\Z")
_COMMA = re.compile(r"\A([\w.:\\-]{1,128})[,;]*,[,;]*\s*(?=[\w/\"-])")
"""What ``cmd`` takes for a blank."""
_QUOTED_PROGRAM = re.compile(r"\A([\"'])[\w.-]{1,64}\1\s")
_QUOTED_WORD = re.compile(r"(?:(?<=\s)|\A)([\"'])([\w.:/=+-]{1,256})\1(?=\s|\Z)")
_ASSIGNMENT = re.compile(r"(?:\A|(?<=[;&\"\s]))(?:(?:set|export)\s{1,4})?([A-Za-z_]\w{0,15})=([^\s;&|\"'$%()<>]{1,64})\s?(?:;|&&?)\s?")
_FIRST_ASSIGNED = re.compile(
    r"\A(?:[\w.\\:%]{3,64}\s/[a-z:\s/]{1,16}\s?\"?\s?)?(?:set\s{1,4}|export\s{1,4})?[A-Za-z_]\w{0,15}=", re.IGNORECASE
)
_USED = re.compile(r"\$(?:\{([A-Za-z_]\w{0,15})\}|([A-Za-z_]\w{0,15}))|%([A-Za-z_]\w{0,15})%|!([A-Za-z_]\w{0,15})!")
_AT = re.compile(r"\A\s*@(?=[A-Za-z])")
_BRACKETS_OF_NAME = re.compile(r"(?<=[?&])([\w.-]{1,64})((?:\[(?!__|prototype|constructor|class)\w{0,32}\]){1,8})(?==)", re.IGNORECASE)
_BLANK_FIRST = re.compile(r"(?<=[?&])([\w.-]{1,64}=) ")
_BLANK_LAST = re.compile(r" (?=&[\w.-]{1,64}=)")
_ENDING = re.compile(r"(?<=/)([^/?]*[\s'\"`{}<>;$|&()][^/?]*)\.(?:css|js|png|jpe?g|gif|ico|svg|woff2?|html?)\Z")
"""An ending of a file behind what is no file's name: it is there for caches and filters, which let such files pass."""
_PHRASE = re.compile(r"(?<==)\"([\w \-.,]{1,256})\"(?=&|\Z)")
"""A value that is one phrase of plain words in quotes, as people search."""
_NESTING = re.compile(r"(?:[\[{]\s?(?:\"\w{1,32}\"\s?:\s?)?){2,}(?=[\[{])")
_ELEMENT = re.compile(r"<([a-z][\w:.-]{0,31})>([^<>]{0,4096})</\1>")
_MARKUP = frozenset(
    re.findall(
        r"\w+",
        """
        a abbr acronym address animate applet article aside audio b base basefont bdi bdo bgsound big blink
        blockquote body br button canvas caption center cite code col colgroup command content data datalist dd
        del desc details dfn dialog dir div dl dt element em embed fieldset figcaption figure font footer
        foreignobject form frame frameset h1 h2 h3 h4 h5 h6 head header hgroup hr html i iframe image img input
        ins isindex kbd keygen label layer legend li link listing main map mark marquee math menu menuitem meta
        meter multicol nav nextid nobr noembed noframes noscript object ol optgroup option output p param
        picture plaintext portal pre progress q rb rp rt rtc ruby s samp script search section select set shadow
        slot small source spacer span strike strong style sub summary sup svg table tbody td template textarea
        tfoot th thead time title tr track tt u ul use var video wbr xml xmp xss
        """,
    )
)
"""Names of elements that browsers know (HTML Living Standard, obsolete ones and SVG's that run script as well)."""
MOST_DEEP = 3
_NESTING_END = re.compile(r"(?:[\]}]\s?){3,}")


def slices(text: str) -> str:
    """Write a slash for the first letter of a path that every shell has, and PowerShell's letters out of ``$env:ComSpec``."""
    if "${" in text:
        text = _SLICE.sub("/", text)
    return _COMSPEC.sub(_from_comspec, text) if "$" in text and "[" in text else text


def _from_comspec(match: re.Match[str]) -> str:
    places = [int(place) for place in match[1].replace(" ", "").split(",") if place]
    return "".join(_COMSPEC_VALUE[place] for place in places if place < len(_COMSPEC_VALUE)).lower()


def spare_back_slashes(text: str) -> str:
    r"""Drop back slashes that the shell drops: ``w\g\e\t``, ``/e\tc/pa\sswd``."""
    if "\\" not in text:
        return text
    return _WITHIN_PATH.sub(lambda m: m[0].replace("\\", ""), _LETTERS.sub(lambda m: m[0].replace("\\", ""), text))


def unwrapped(line: str) -> str:
    """A command line without what only carries it: ``env``, ``nohup``, ``sh -c '…'``, comments, a program's usual folder.

    What tells of an attack by itself stays: ``LD_PRELOAD``, ``HISTFILE``, folders that no program is in.
    """
    if "#" in line:
        line = _COMMENT_BLOCK.sub(" ", _COMMENT_LINE.sub("", line))
    if "\n" in line:
        line = _CONTINUED.sub("", line)
    line = _AT.sub("", line) if line[:1] == "@" else _BRACKETS.sub(r"\1", line) if line[:1] == "(" else line
    if "=" in line and _FIRST_ASSIGNED.match(line):
        line = _filled(line)
    first = line.partition(" ")[0]
    if first in _RUNNERS or "=" in first:
        line = _WRAPPER.sub("", line, count=1)
    elif "," in first:
        line = _COMMA.sub(r"\1 ", line)
    if line[:1] in "\"'" and _QUOTED_PROGRAM.match(line):
        line = _QUOTED_WORD.sub(r"\2", line)
    line = _PROGRAM_PATH.sub("", line) if "bin/" in line else line
    if (line[-1:] in "'\"") and (found := _SHELL_C.match(line)):
        line = _WRAPPER.sub("", found[1] if found[1] is not None else found[2], count=1)
    return line


def _filled(line: str) -> str:
    """A line in which words that it gives a name to stand for those names (``a=cu;b=rl;$a$b``); as it is where that makes it longer."""
    names = {found[1].lower(): found[2] for found in _ASSIGNMENT.finditer(line)}
    if not names:
        return line
    bare = _ASSIGNMENT.sub("", line)
    full = _USED.sub(lambda m: names.get((m[1] or m[2] or m[3] or m[4]).lower(), m[0]), bare)
    return full if bare != full and len(full) <= len(line) else line


def powershell_texts(line: str) -> str:
    """Write reversed text, text with marks that it takes out, and what .NET decodes from base64 (decoded already), as the text it is."""
    if "replace" in line or "Replace" in line:
        line = _TAKEN_OUT.sub(lambda m: f"'{m[1].replace(m[2], '')}'", line)
    if "[" not in line:
        return line
    line = _REVERSED.sub(lambda m: (m[1] or m[2])[::-1], line) if ".." in line else line
    return _OF_DOT_NET.sub(r"\1", line) if "]::" in line else line


def plain_parameters(target: str) -> str:
    """A request target in single blanks: brackets of names as dots, no quotes around plain words, no blanks at the ends of values."""
    if "=" not in target:
        return target
    if "]=" in target:
        target = _BRACKETS_OF_NAME.sub(_dotted_name, target)
    if '="' in target:
        target = _PHRASE.sub(r"\1", target)
    if "= " in target:
        target = _BLANK_FIRST.sub(r"\1", target)
    return _BLANK_LAST.sub("", target) if " &" in target else target


def _dotted_name(match: re.Match[str]) -> str:
    """``a[b][]`` as ``a.b``; numbers say which of a list."""
    words = (word for word in match[2][1:-1].split("][") if word and not word.isdecimal())
    return ".".join((match[1], *words))


def without_ending(target: str) -> str:
    """A request target without the ending of a picture or script behind a last segment that is no file's name."""
    return _ENDING.sub(r"\1", target) if "." in target[-6:-2] and "?" not in target else target


def plain_elements(text: str) -> str:
    """Text without elements of XML around values, where no browser knows them: ``<order><city>Bonn</city></order>``, up to three deep."""
    for _ in range(MOST_DEEP if "</" in text else 0):
        found = _ELEMENT.sub(lambda m: m[0] if m[1] in _MARKUP else f"{m[2]} ", text)
        if found == text:
            break
        text = found
    return text


def less_nested(text: str) -> str:
    """Text that holds JSON, with the innermost of three and more openings in a row, and one of as many endings."""
    if "{" not in text and "[" not in text:
        return text
    return _NESTING_END.sub("}", _NESTING.sub("", text)) if _NESTING_END.search(text) else text
