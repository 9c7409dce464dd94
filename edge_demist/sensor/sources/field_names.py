"""Names of fields as products spell them: ``Process Command Line``, ``process_commandline``, ``Process-CommandLine`` are one name."""

from __future__ import annotations

import functools
import re

from edge_demist.sensor.sources.envelopes import RECORD_KEYS, TEXT_KEYS

_BETWEEN = re.compile(r"[\W_]+")
_SPELLED_OUT = re.compile(r"[A-Za-z@_$#][\w .@#$/()\[\]:{}\-+*]{0,95}\Z")


@functools.lru_cache(maxsize=4096)
def plain_name(name: str) -> str:
    """A name in lower case without what stands between its words."""
    return _BETWEEN.sub("", name[:256]).lower()


_TELLING = frozenset(map(plain_name, RECORD_KEYS.union(TEXT_KEYS))) | frozenset(
    re.findall(
        r"\w+",
        """
        eventoriginal dnsquestionname urloriginal urlfull urldomain useragent useragentoriginal processargs
        processtitle tlsclientservername servername sni host hostname uri url requesturl query qname domain dhost
        filename name commandlineargs cmd command executableinfo processcommandlineredacted remoteurl targethostname
        dateandtime detail launchstring tasktorun imagepath questionname arg dstname resource httpuseragent httphost
        dnsquery dnsrequest fqdn
        """,
    )
)


_TELLING_ENDS = ("commandline", "cmdline", "useragent", "queryname", "qryname", "requesturi", "req")


def is_telling(name: str) -> bool:
    """Whether a field of such a name may hold what a specialist reads, or a record."""
    plain = plain_name(name)
    return plain in _TELLING or plain.endswith(_TELLING_ENDS)


def is_name(text: str) -> bool:
    """Whether a text looks like the name of a field."""
    return _SPELLED_OUT.match(text) is not None
