"""Names that the resolver of every network sees and that look made by a machine: clouds, providers, antivirus, keys, dynamic DNS.

Forms are those that the operators document; values are drawn. Zones where strangers choose names are here too (``duckdns.org``),
with names of the kind that people give their own devices.
"""

from __future__ import annotations

import random
import string
from collections.abc import Callable

from tools.synth.words import brand, domain, person, word

Row = tuple[str, str, str]
_HEX, _LOWER, _ALNUM = string.digits + "abcdef", string.ascii_lowercase, string.ascii_lowercase + string.digits
_BASE32 = string.ascii_lowercase + "234567"
_AWS = ("us-east-1", "us-east-2", "us-west-2", "eu-west-1", "eu-central-1", "ap-southeast-1", "ap-northeast-1", "sa-east-1")
_AZURE = ("westeurope", "northeurope", "eastus", "eastus2", "westus2", "uksouth", "southeastasia", "germanywestcentral")
DYNAMIC = ("duckdns.org", "ddns.net", "no-ip.org", "hopto.org", "zapto.org", "sytes.net", "mooo.com", "dyndns.org", "myfritz.net",
            "synology.me", "myqnapcloud.com", "dynu.net", "spdns.de", "freeddns.org", "quickconnect.to", "asuscomm.com", "tplinkdns.com",
            "dnsalias.net", "homeip.net", "selfhost.eu", "ddnss.de", "dyndns.info", "myds.me", "i234.me", "remotewd.com")  # fmt: skip
_DEVICES = ("nas", "home", "cam", "router", "vpn", "plex", "ha", "homeassistant", "server", "pi", "office", "shop", "praxis", "haus",
            "dvr", "nvr", "cloud", "backup", "garage", "solar", "kamera", "casa", "maison", "familie", "lab")  # fmt: skip
_PROVIDERS = ("comcast.net", "t-ipconnect.de", "bb.online.no", "bredband2.com", "cust.swisscom.ch", "res.spectrum.com", "rr.com",
              "ono.com", "telecomitalia.it", "wanadoo.fr", "btcentralplus.com", "virginm.net", "optonline.net", "hinet.net", "ocn.ne.jp",
              "prod-infinitum.com.mx", "veloxzone.com.br", "airtelbroadband.in", "orange.pl", "telia.com")  # fmt: skip
_REPUTATION = ("e5.sk", "avqs.mcafee.com", "avts.mcafee.com", "sophosxl.net", "cloud.eset.com", "ff.avast.com", "nimbus.bitdefender.net",
               "url.trendmicro.com", "hash.cymru.com", "gti.mcafee.com", "webcfs00.com", "safebrowsing.example-av.net")  # fmt: skip
_AUTHORITIES = ("digicert.com", "sectigo.com", "globalsign.com", "entrust.net", "identrust.com", "usertrust.com", "godaddy.com",
                "pki.goog", "lencr.org", "amazontrust.com", "apple.com", "quovadisglobal.com", "certum.pl", "swisssign.net")  # fmt: skip


def _draw(rng: random.Random, alphabet: str, count: int) -> str:
    return "".join(rng.choices(alphabet, k=count))


def _address(rng: random.Random, between: str) -> str:
    return between.join(str(rng.randint(1, 254)) for _ in range(4))


def _name(rng: random.Random) -> str:
    parts = [rng.choice((word, brand, word))(rng) for _ in range(rng.choice((1, 2, 2, 3)))]
    parts += [rng.choice(("prod", "prd", "stage", "dev", "api", "app", "cdn", "web", "fd", "endpoint", "eu", "us"))] * rng.randint(0, 1)
    return "-".join(parts)


def _key(rng: random.Random) -> str:
    """Certificates of a computer's security chip, asked for at every start of Windows."""
    maker = rng.choice(("stm", "ntc", "ifx", "intc", "amd", "qcom", "nuvo"))
    return f"{maker}-keyid-{_draw(rng, _HEX, 40)}.microsoftaik.azure.net"


def _azure(rng: random.Random) -> str:
    place = rng.choice(_AZURE)
    shapes = (
        f"{_name(rng)}-{_draw(rng, _ALNUM, 16)}.{rng.choice('abz')}{rng.randint(1, 3):02d}.azurefd.net",
        f"{_name(rng)}.trafficmanager.net",
        f"{_name(rng)}.{place}.cloudapp.azure.com",
        f"{_draw(rng, _ALNUM, rng.randint(8, 22))}.blob.core.windows.net",
        f"{_name(rng)}.vault.azure.net",
        f"{_draw(rng, _HEX, 8)}-{_draw(rng, _HEX, 4)}-{_draw(rng, _HEX, 4)}.ods.opinsights.azure.com",
        f"{_name(rng)}-{_draw(rng, _ALNUM, 16)}.{place}-01.azurewebsites.net",
    )
    return rng.choice(shapes)


def _amazon(rng: random.Random) -> str:
    place = rng.choice(_AWS)
    shapes = (
        f"ec2-{_address(rng, '-')}.{place}.compute.amazonaws.com",
        f"ec2-{_address(rng, '-')}.compute-1.amazonaws.com",
        f"{_draw(rng, _ALNUM, 10)}.execute-api.{place}.amazonaws.com",
        f"d{_draw(rng, _ALNUM, rng.choice((12, 13)))}.cloudfront.net",
        f"{_name(rng)}-{rng.randint(10**8, 2 * 10**9)}.{place}.elb.amazonaws.com",
        f"{_name(rng)}-{_draw(rng, _HEX, 16)}.elb.{place}.amazonaws.com",
        f"{_draw(rng, _ALNUM, 14)}-ats.iot.{place}.amazonaws.com",
        f"a{_draw(rng, _HEX, 16)}.awsglobalaccelerator.com",
        f"{_name(rng)}.s3.{place}.amazonaws.com",
        f"{_draw(rng, _HEX, 32)}.{_draw(rng, _ALNUM, 3)}.{place}.eks.amazonaws.com",
    )
    return rng.choice(shapes)


def _other_clouds(rng: random.Random) -> str:
    place = rng.choice(("fra", "ams", "lhr", "par", "mad", "arn"))
    shapes = (
        f"{place}{rng.randint(2, 30):02d}s{rng.randint(1, 60):02d}-in-f{rng.randint(1, 20)}.1e100.net",
        f"{_address(rng, '.')}.bc.googleusercontent.com",
        f"r{rng.randint(1, 8)}---sn-{_draw(rng, _ALNUM, 8)}.{rng.choice(('googlevideo.com', 'gvt1.com'))}",
        f"e{rng.randint(100, 99999)}.{rng.choice(('dscb', 'dsca', 'dscg', 'b', 'g'))}.akamaiedge.net",
        f"{_name(rng)}.edgekey.net",
        f"a{rng.randint(100, 2999)}.dsc{rng.choice('abdgqr')}.akamai.net",
        f"{_name(rng)}.map.fastly.net",
        f"{_draw(rng, _HEX, 32)}.cdn.cloudflare.net",
        f"{_draw(rng, _ALNUM, 8)}.b-cdn.net",
        f"static.{_address(rng, '.')}.clients.your-server.de",
        f"vps-{_draw(rng, _HEX, 8)}.vps.ovh.net",
        f"{_draw(rng, _ALNUM, 6)}-{_draw(rng, _ALNUM, 12)}.{rng.choice(('b', 'c', 'g'))}-msedge.net",
    )
    return rng.choice(shapes)


def _provider(rng: random.Random) -> str:
    zone = rng.choice(_PROVIDERS) if rng.random() < 0.6 else domain(rng)
    a = _address(rng, rng.choice("-.-"))
    kind = rng.choice(("dyn", "dynamic", "static", "pool", "cable", "dsl", "ftth", "cust", "user", "mobile", "ppp", "res", "client"))
    shapes = (
        f"{kind}-{a}.{zone}",
        f"ip-{a}.{zone}",
        f"{a}.{kind}.{zone}",
        f"host{a}.{zone}",
        f"p{_draw(rng, _HEX, 8)}.{kind}.{zone}",
        f"{kind}{rng.randint(1, 9999)}.{word(rng)}.{zone}",
        f"c-{a}.hsd1.{rng.choice(('ca', 'il', 'wa', 'ma'))}.{zone}",
        f"ae-{rng.randint(0, 99)}.{rng.choice('aber')}{rng.randint(0, 9):02d}.{word(rng)[:6]}{rng.randint(1, 9):02d}.{zone}",
    )
    return rng.choice(shapes)


def _antivirus(rng: random.Random) -> str:
    zone = rng.choice(_REPUTATION)
    if zone == "e5.sk":
        return f"{_draw(rng, _BASE32, rng.choice((16, 26, 36, 48)))}.{rng.choice('ac')}.{rng.choice(('e', 'c', 'h'))}.e5.sk"
    shapes = (
        f"{_draw(rng, _HEX, rng.choice((16, 32, 40)))}.{zone}",
        f"{_draw(rng, _BASE32, 26)}.{rng.choice('abcdefg')}.{zone}",
        f"{rng.randint(0, 9)}.{_draw(rng, _HEX, 8)}.{rng.randint(1, 99)}.{_draw(rng, _HEX, 12)}.{zone}",
        f"{_draw(rng, _ALNUM, 24)}-{_draw(rng, _LOWER, 6)}-{_draw(rng, _HEX, 8)}.{rng.choice(('clientns', 'ns', 'q'))}.{zone}",
    )
    return rng.choice(shapes)


def _dynamic(rng: random.Random) -> str:
    zone, device = rng.choice(DYNAMIC), rng.choice(_DEVICES)
    who = rng.choice((person, brand, word))(rng).replace(".", "").replace(" ", "")
    shapes = (f"{who}.{zone}", f"{device}-{who}.{zone}", f"{who}{device}.{zone}", f"{device}.{who}.{zone}",
              f"{who}{rng.randint(1, 2030)}.{zone}", f"{_draw(rng, _ALNUM, 16)}.myfritz.net")  # fmt: skip
    return rng.choice(shapes)


def stranger(rng: random.Random) -> str:
    """A name that somebody gave a device, a page or a project of their own."""
    who = rng.choice((person, brand, word))(rng).replace(".", "").replace(" ", "")
    shapes = (who, f"{rng.choice(_DEVICES)}-{who}", f"{who}{rng.choice(_DEVICES)}", f"{word(rng)}-{word(rng)}",
              f"{who}{rng.randint(1, 2030)}", f"{rng.choice(_DEVICES)}.{who}", _draw(rng, _ALNUM, rng.randint(4, 12)))  # fmt: skip
    return rng.choice(shapes)


def _certificates(rng: random.Random) -> str:
    name = rng.choice(("ocsp", "crl", "crt", "cacerts", "ocsp2", "crl3", "crl4", "status", "aia", "ocsp.int-x3", "r10.o", "e6.c", "r3.i"))
    return f"{name}.{rng.choice((*_AUTHORITIES, domain(rng)))}"


def single_label(rng: random.Random) -> str:
    """A name without a dot: Chrome's start-up probes and a resolver's guesses; none is a registered domain."""
    shapes = (
        _draw(rng, _LOWER, rng.randint(7, 15)),
        _draw(rng, _LOWER, rng.randint(7, 15)),
        f"desktop-{_draw(rng, _ALNUM, 7)}",
        f"{rng.choice(('srv', 'pc', 'laptop', 'dc', 'win', 'iphone', 'android'))}-{_draw(rng, _ALNUM, rng.randint(3, 12))}",
        word(rng) + str(rng.randint(1, 99)),
        _draw(rng, _ALNUM, rng.randint(5, 14)),
    )
    return rng.choice(shapes)


FORMS: dict[str, Callable[[random.Random], str]] = {
    "keys": _key, "azure": _azure, "amazon": _amazon, "clouds": _other_clouds, "provider": _provider, "antivirus": _antivirus,
    "dynamic-dns": _dynamic, "certificates": _certificates, "single-label": single_label,
}  # fmt: skip
"""By kind."""


def generate(rng: random.Random, count: int) -> list[Row]:
    """Draw about ``count`` rows, equally many of each kind but single labels, which come four times as often; the family is the kind."""
    kinds = [*FORMS, *["single-label"] * 3]
    return [(FORMS[kind](rng), "legit", kind) for kind in (kinds[i % len(kinds)] for i in range(count))]
