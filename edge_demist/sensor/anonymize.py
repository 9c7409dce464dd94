"""Takes personal data out of URIs, paths and command lines: typed placeholders, or keyed hashes where joins are needed.

The rules go from the specific (a mail address, ``--password``) to the general (long numbers, strings that look
random). A placeholder holds nothing of the original; a keyed one holds an HMAC-SHA256 (RFC 2104) cut to 64 bits, which
cannot be tried out without the key.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ..errors import InputError

MIN_KEY_BYTES = 16
MAX_TEXT_CHARS = 4096
_HASH_HEX = 16
MIN_RANDOM = 16

_END = r"""(?=[\s&;,"'<>|)\]}#]|$)"""
_VALUE = r"""(?:"[^"]+"|'[^']+'|[^\s&;,"'<>|)\]}#]+)"""
_NO_QUERY = r"""(?:"[^"]+"|'[^']+'|[^\s&;,"'<>|)\]}#?]+)"""
_ARGUMENT = r"""(?!-)(?:"[^"]+"|'[^']+'|[^\s"'<>|;&]+)"""
_NAME = r"[\w.\-+$%\u0080-\uffff]+"
_SHARED_USERS = r"(?!(?:Public|Default|Default User|All Users|Shared|Administrator|desktop\.ini|lost\+found)(?:[\\/\"'\s]|$))"
_SESSION_KEYS = (
    r"j?session[_-]?(?:id|key|token|hash)?|phpsessid|sessid|sess|sid|asp\.net_sessionid|aspsessionid\w*|cfid|cftoken|"
    r"connect\.sid|_ga|_gid|gclid|fbclid|msclkid|visitor[_-]?id|device[_-]?id|client[_-]?id|cid|tracking[_-]?id|"
    r"install[_-]?id|idfa|gaid|imei|imsi|iccid|serial(?:[_-]?(?:no|number))?|cookie|beaker\.session\.id|laravel_session|"
    r"wordpress_logged_in\w*|zenid|oscsid|osCsid|viewstate|__viewstate|__eventvalidation|request[_-]?id|correlation[_-]?id"
)
_SECRET_KEYS = (
    r"(?:access|auth|refresh|id|bearer|api|csrf|xsrf|security|reset|invite|user|login|push|device|app|oauth|sas|shared)?[_-]?"
    r"(?:token|secret|ticket|jwt|otp|nonce|apikey)|oauth_\w+|api[_-]?key|(?:client|app|shared|private|access|secret|license|product|activation)[_-]?"
    r"(?:secret|key|id_token|access_key)|key|auth|authorization|sig|signature|hmac|code|state|pass|passcode|passwd|password|"
    r"passphrase|pwd|pin|new_?pass\w*|old_?pass\w*|confirm_?pass\w*|credential|cred|csrfmiddlewaretoken|"
    r"x-amz-(?:signature|credential|security-token)|awsaccesskeyid|awssecretkey|aws_\w+_key(?:_id)?|hash|digest|saml(?:request|response)|"
    r"relaystate|assertion|pgpassword|mysql_pwd|sshpass|\w+_(?:token|secret|password|passwd|pwd|key)"
)
_USER_KEYS = (
    r"user(?:[_-]?(?:name|id|login))?|usr|uname|login(?:[_-]?(?:name|id))?|logon|account(?:[_-]?(?:name|id|no))?|acct|uid|owner|author|"
    r"member(?:[_-]?id)?|nick(?:name)?|screen_name|handle|first_?name|last_?name|full_?name|surname|customer(?:[_-]?(?:id|no|name))?|"
    r"employee(?:[_-]?(?:id|no|name))?|patient(?:[_-]?id)?|contact|email|e-?mail|mail|to|from|recipient|sender|assignee|profile|realname|upn|"
    r"samaccountname|phone|tel|mobile|msisdn|ssn|iban|birth_?date|dob|address|street|city|zip|postcode|lat|lon|lng"
)
_COMMAND_USER = (
    r"\b(?:useradd|adduser|userdel|deluser|usermod|passwd|chage|finger|chfn|su|groups|id|loginctl enable-linger|crontab -u|pkill -u|"
    r"killall -u|lastlog -u|quota -u|getent passwd|gpasswd -[ad]|edquota|net user|net localgroup \S+|dscl \. -\w+ /Users)"
)


@dataclass(frozen=True, slots=True)
class _Rule:
    """A kind and a pattern; the group ``v`` is what goes (the whole match without one)."""

    kind: str
    pattern: re.Pattern[str]
    check: Callable[[str], bool] | None = None


def _rule(kind: str, pattern: str, check: Callable[[str], bool] | None = None, flags: int = re.IGNORECASE) -> _Rule:
    return _Rule(kind, re.compile(pattern, flags), check)


def _looks_random(text: str) -> bool:
    """Whether a run of letters and digits was hardly typed by a person: digits and letters mixed again and again."""
    core = re.sub(r"[-_~]", "", text)
    classes = "".join("d" if c.isdigit() else "u" if c.isupper() else "l" for c in core)
    changes = len(re.sub(r"(.)\1+", r"\1", classes)) - 1
    digits, letters = sum(c.isdigit() for c in core), sum(c.isalpha() for c in core)
    return digits >= 2 and letters >= 2 and changes >= max(4, len(core) // 6)


def _mixed_case_random(text: str) -> bool:
    """Base64 without many digits: upper and lower case change all the time, unlike CamelCase words."""
    words = re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+", text)
    return len(words) >= len(text) / 3.2 and any(c.islower() for c in text) and any(c.isupper() for c in text)


def _random_token(text: str) -> bool:
    return _looks_random(text) or _mixed_case_random(text)


_OCTET = r"(?:25[0-5]|2[0-4]\d|1?\d?\d)"
_RULES: tuple[_Rule, ...] = (
    _rule("USER", r"(?<=://)(?P<v>[^\s/:@?#]+)(?=(?::[^\s/@?#]*)?@)"),
    _rule("SECRET", r"(?<=://<USER>:)(?P<v>[^\s/@?#]+)(?=@)"),
    _rule("SECRET", r"(?<=://<USER:[0-9a-f]{16}>:)(?P<v>[^\s/@?#]+)(?=@)"),
    _rule("MAIL", r"[\w.!#$'*+\-^`{|}~]+(?:@|%40)(?:[\w\-]+\.)+[a-z]{2,24}(?![\w])"),
    _rule("MAIL", r"(?<=mailto:)(?P<v>[^\s?&\"'<>]+)"),
    _rule("TOKEN", r"\beyJ[\w\-]{4,}(?:\.[\w\-]+){0,4}"),
    _rule("TOKEN", r"\b(?:gh[pousr]_\w{16,}|github_pat_\w{16,}|glpat-[\w\-]{12,}|xox[abeoprs]-[\w\-]{8,}|[srp]k[-_](?:live|test|proj|ant)?[-_]?[\w\-]{12,}|A[KS]IA[0-9A-Z]{12,}|AIza[\w\-]{20,}|ya29\.[\w\-.]+|npm_\w{20,}|pypi-[\w\-]{16,}|SG\.[\w\-.]{16,}|hooks\.slack\.com/services/(?P<v>\S+)|EAA[0-9A-Za-z]{20,}|dop_v1_\w{20,}|hf_\w{16,})"),
    _rule("TOKEN", r"\b(?:bearer|basic|negotiate|digest|apikey|token)[ :=+]+(?P<v>[\w\-.~+/]{8,}=*)"),
    _rule("SID", r"\bS-1-5-21(?:-\d+)+"),
    _rule("SESSION", rf"(?<![\w.\-])(?:{_SESSION_KEYS})(?:=|:\s*|%3D)(?P<v>{_NO_QUERY})"),
    _rule("SECRET", rf"(?<!\w)(?:{_SECRET_KEYS})(?:=|:\s*(?!//)|%3D)(?P<v>{_VALUE})"),
    _rule("USER", rf"(?<![\w.])(?:{_USER_KEYS})(?:=|%3D|:(?![/\\]))(?P<v>{_VALUE})"),
    _rule("SECRET", rf"(?<=[\s\"'])(?:--?(?:password|passwd|passphrase|pass|pwd|pw|token|api-?key|secret|secret-key|access-key|client-secret|ticket|p12-?pass\w*|storepass|keypass|passin|passout|key-?password|bind-?pw|auth-?pass\w*|psk|pin|AsPlainText|SecureString|AccountPassword|Password)|/(?:password|pass|pwd|pw|rp|p))(?:[ :=]+|\s+)(?:pass:)?(?P<v>{_ARGUMENT})"),
    _rule("SECRET", rf"\bConvertTo-SecureString\s+(?:-String\s+)?(?P<v>{_VALUE})"),
    _rule("SECRET", rf"(?<=IDENTIFIED BY )(?P<v>{_VALUE})"),
    _rule("SECRET", rf"\bsshpass\s+-p\s*(?P<v>{_VALUE})"),
    _rule("SECRET", rf"\b(?:mysql|mysqldump|mysqladmin|mariadb)\b[^|;&]*?\s-p(?P<v>[^\s|;&]+)"),
    _rule("SECRET", rf"\b(?:psexec\w*|wmic|net use|smbclient|rdesktop|xfreerdp|winexe|evil-winrm|crackmapexec|nxc|sqlcmd|ldapsearch|unzip|zip|7z|rar|redis-cli|sqsh|isql|docker login|helm registry login|az login|rpcclient|curl|sftp|lftp|ftp|hydra|medusa|ncrack|plink|pscp|ipmitool|snmp\w+)\b[^|;]*?\s-(?:p|w|P|a)\s*(?P<v>{_VALUE})(?=\s|$)", lambda v: not v.isdigit() and not v.startswith("-")),
    _rule("SECRET", r"\bnet1?(?:\.exe)? use \S+ (?P<v>\"[^\"]+\") /u"),
    _rule("SECRET", r"(?P<v>[\w.\-]+:[^\s\"'|]+)(?=[\"']? *\| *chpasswd)"),
    _rule("USER", r"\s-oUser[= ](?P<v>\S+)"),
    _rule("USER", rf"(?<=[\s\"'])(?:-u|-U|-l|--user(?:name)?|--login|--owner|--uid|--account|-user(?:name)?|-Credential|-Identity|-Member|-SamAccountName|-Name(?=\s+\S+\s+-Account)|/user|/u|/ru|--bind-?dn|-run-?as|--as-user|--run-?as)(?:[ :=]+)(?P<v>{_ARGUMENT})(?=[\s\"']|$)"),
    _rule("USER", rf"{_COMMAND_USER}\s+(?:-\w+\s+(?:[\w/]+\s+)?|- )*(?P<v>\"[^\"]+\"|(?![-/])[\w.\-\\$@]+)(?=\s|$)(?!\s*<)"),
    _rule("SECRET", r"\bnet1?(?:\.exe)? user <USER(?::[0-9a-f]{16})?> (?P<v>(?![/-])\S+)"),
    _rule("SECRET", r"\bnet1? use \S+(?: \S+)*? (?P<v>(?![/\\*-])[^\s:\\]+) /u(?:ser)?:"),
    _rule("USER", r"(?:/home/|/Users/|/var/(?:spool/)?(?:cron/crontabs|cron(?!/crontabs)|mail)/|/export/home/|/usr/home/|/data/home/|/srv/home/|/homes?/|/media/|/run/media/)(?P<v>" + _SHARED_USERS + r"[^/\s\"'\\:;,&?<>|]+)", None, 0),
    _rule("USER", r"(?:[a-z](?::|\$|%3A)(?:\\+|/+|%5C)|\\)(?:Users|Documents and Settings|Benutzer|Utilisateurs|Usuarios)(?:\\+|/+|%5C)(?P<v>" + _SHARED_USERS + r"[^\\/\"'<>|:*?%&]+?)(?=\\|/|%5C|\"|'|$|\s+[-/&|>]|\s*$)"),
    _rule("USER", r"(?:\\\\|//)[\w.\-]+\\(?:home|homes|users|profiles?|user)\$?\\(?P<v>[^\\\s\"']+)"),
    _rule("USER", r"(?:^|(?<=[/\s=\"']))~(?P<v>[a-z][\w.\-]+)"),
    _rule("USER", r"/(?:users?|members?|profiles?|u|people|accounts?|authors?|customers?|patients?|employees?|staff|students?|owners?|contacts?|mailbox(?:es)?|messages/to|friends|followers|by|in)/(?P<v>(?!(?:login|logout|signin|signup|register|new|edit|settings|me|self|list|search|index|all|profile|password|reset|api|v\d|home|account|admin|sign_in|sign_up|sign_out|verify|auth|photo|avatar|images?|static|assets?|css|js|page|count|export|import|default|view|show|create|update|delete|lib|local|bin|share|sbin|include|src)(?:[/?.#\s]|$))[^/?&#\s\"']+)"),
    _rule("USER", r"/@(?P<v>[\w.\-]+)"),
    _rule("USER", r"(?<![\w\\/.:%])(?!(?:NT AUTHORITY|NT SERVICE|BUILTIN|HKLM|HKCU|HKCR|HKU|HKEY_\w+|System32|SysWOW64|Windows|Program Files|ProgramData|Microsoft|Software|Temp|Device|GLOBALROOT|Root|bin|src|lib|Tasks|dev)\\)[A-Z][\w\-]{1,15}\\(?P<v>(?!Microsoft|Windows|System32)[a-z][\w.\-$]{1,30})(?=[\s\"',;:)]|$)", None, 0),
    _rule("USER", rf"\b(?:ssh|scp|sftp|rsync|mosh|ssh-copy-id|sshfs|autossh)\b.*?[\s\"'](?P<v>{_NAME})(?=@[\w.\-\[<])"),
    _rule("USER", rf"(?<=[\s\"'=])(?P<v>[a-z_][\w.\-]*)(?=@(?:[\w\-]+\b|<IP))"),
    _rule("USER", r"\bchown\s+(?:-\w+\s+|--\w+\s+)*(?P<v>(?!-|root\b|www-data\b|nobody\b)[\w.\-]+)(?=[:\s])"),
    _rule("USER", r"\b(?:icacls|cacls|takeown)\b.*?/(?:grant|deny|setowner|remove)(?::r)?\s+\"?(?P<v>[\w.\-\\ ]+?)(?=[:\"])"),
    _rule("UUID", r"\{?\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b\}?"),
    _rule("MAC", r"(?<![\w:.\-])(?:[0-9a-f]{2}(?:[:\-]|%3A)){5}[0-9a-f]{2}(?![\w:])"),
    _rule("MAC", r"(?<![\w.])[0-9a-f]{4}\.[0-9a-f]{4}\.[0-9a-f]{4}(?![\w.])"),
    _rule("IP", rf"(?<![\w.])(?:{_OCTET}\.){{3}}{_OCTET}(?![\w]|\.\d)"),
    _rule("IP", rf"(?<![\d])(?:{_OCTET}[-_]){{3}}{_OCTET}(?![\w-])"),
    _rule("IP", r"(?:(?<=%5B)|(?<![\w:.]))(?=[0-9a-f:%.]*?(?::|%3A)[0-9a-f:%.]*?(?::|%3A))(?:[0-9a-f]{0,4}(?::|%3A)){2,7}(?:[0-9a-f]{1,4}|:)?(?:(?:\d{1,3}\.){3}\d{1,3})?(?:%(?!3A)\w+)?(?![\w:])", lambda v: sum(c in "0123456789abcdefABCDEF" for c in v) >= 2 and not re.fullmatch(r"\d{1,2}(?::\d{2}){1,2}", v)),
    _rule("HEX", r"(?<![0-9a-z])(?:0x)?[0-9a-f]{16,}(?![0-9a-z])", lambda v: any(c.isdigit() for c in v) or len(v) >= 24),
    _rule("NUM", r"(?<![\w.])\+\d[\d\s().\-/]{6,20}\d(?!\w)"),
    _rule("NUM", r"(?<![\w.])(?:\d{3,4}[ \-]){2,4}\d{2,7}(?![\w])"),
    _rule("NUM", r"(?<![\w.])\d{3}-\d{2}-\d{4}(?!\w)"),
    _rule("NUM", r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){3,7}(?: ?[A-Z0-9]{1,3})?\b", None, 0),
    _rule("NUM", r"(?<![\d.])\d{6,}(?![\d])"),
    _rule("TOKEN", rf"(?<![\w+\-~.%])[A-Za-z0-9+_\-~]{{{MIN_RANDOM},}}={{0,2}}(?![\w+\-~])", lambda v: _random_token(v.strip("-_=")), 0),
    _rule("TOKEN", r"(?<![\w+/=])[A-Za-z0-9+/]{24,}={0,2}(?![\w+/=])", lambda v: _random_token(v.rstrip("=")) and v.count("/") <= len(v) // 12, 0),
    _rule("TOKEN", r"(?<![\w])[A-Za-z0-9]{10,15}(?![\w])", lambda v: _looks_random(v) and len(re.findall(r"\d+", v)) >= 3, 0),
)
_PLACEHOLDER = re.compile(r"<(?:USER|MAIL|TOKEN|SECRET|SESSION|SID|UUID|MAC|IP|HEX|NUM)(?::[0-9a-f]{16})?>")


class Anonymizer:
    """Replaces personal data; counts what it replaced, by kind."""

    def __init__(self, key: bytes | None = None) -> None:
        """With a key, equal values of a kind get equal placeholders.

        Raises:
            InputError: the key is shorter than 16 bytes.
        """
        if key is not None and len(key) < MIN_KEY_BYTES:
            raise InputError(f"the key must have at least {MIN_KEY_BYTES} bytes; make one with: head -c 32 /dev/urandom > key")
        self._key = key
        self.counts: Counter[str] = Counter()

    def __call__(self, text: str) -> str:
        """The text without what the rules know. Placeholders already there are kept, so a second pass changes nothing."""
        if len(text) > MAX_TEXT_CHARS:
            self.counts["cut"] += 1
            text = text[:MAX_TEXT_CHARS]
        for rule in _RULES:
            text = self._apply(rule, text)
        return text

    def _apply(self, rule: _Rule, text: str) -> str:
        parts: list[str] = []
        position = 0
        for start, end in _hits(rule, text):
            parts += [text[position:start], self._placeholder(rule.kind, text[start:end])]
            position = end
        return "".join([*parts, text[position:]]) if parts else text

    def _placeholder(self, kind: str, value: str) -> str:
        self.counts[kind] += 1
        if self._key is None:
            return f"<{kind}>"
        message = f"{kind}\0{value.strip(chr(34) + chr(39)).casefold()}".encode("utf-8", "surrogatepass")
        return f"<{kind}:{hmac.new(self._key, message, hashlib.sha256).hexdigest()[:_HASH_HEX]}>"


def _hits(rule: _Rule, text: str) -> Iterator[tuple[int, int]]:
    """Where a rule strikes, outside of placeholders."""
    taken = [match.span() for match in _PLACEHOLDER.finditer(text)]
    named = "v" in rule.pattern.groupindex
    for match in rule.pattern.finditer(text):
        group = "v" if named and match["v"] is not None else 0
        start, end = match.span(group)
        if start == end or (rule.check is not None and not rule.check(match[group])):
            continue
        while taken and taken[0][1] <= start:
            taken.pop(0)
        if not taken or taken[0][0] >= end:
            yield start, end
