"""The bytes of many texts under a normalizer, as :mod:`edge_demist.normalizers` makes them of each."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence

from edge_demist.hostnames import ANY_SERVICE, MACHINES, hostname, is_plain, leading, readable
from edge_demist.normalizers import NORMALIZERS, by_name, to_bytes


def hostnames(texts: Sequence[str]) -> list[str]:
    """:func:`hostname` of each; where lower case and dots at the end are all that there is to do, of all at once."""
    joined = ":".join(texts)
    if not (joined.isascii() and joined.isprintable()) or " " in joined or joined.count(":") != len(texts) - 1:
        return [hostname(text) for text in texts]
    names = joined.lower().split(":")
    return [name.rstrip(".") for name in names] if ".:" in joined or joined.endswith(".") else names


def _query_names(texts: Sequence[str]) -> list[str]:
    names = hostnames(texts)
    return names if is_plain("".join(names)) else list(map(readable, names))


def _without_labels(labels: str, normalizer: str, texts: Sequence[str]) -> list[str]:
    begins, strip = leading(labels).match, NORMALIZERS[normalizer]
    return [name if begins(name) is None else strip(text) for name, text in zip(hostnames(texts), texts, strict=True)]


_OF_MANY: Mapping[str, Callable[[Sequence[str]], list[str]]] = by_name(
    {
        "identity": list,
        "hostname": _query_names,
        "strip_service_labels": functools.partial(_without_labels, MACHINES, "strip_service_labels"),
        "strip_all_service_labels": functools.partial(_without_labels, ANY_SERVICE, "strip_all_service_labels"),
    }
)


def normalized(texts: Sequence[str], normalizer: str) -> list[bytes]:
    """The bytes of each text under a normalizer."""
    of_many, normalize = _OF_MANY.get(normalizer), NORMALIZERS[normalizer]
    plain = [normalize(text) for text in texts] if of_many is None else of_many(texts)
    try:
        return list(map(str.encode, plain))  # as UTF-8
    except UnicodeEncodeError:
        return [to_bytes(text) for text in plain]
