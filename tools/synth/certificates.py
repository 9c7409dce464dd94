# ruff: noqa: E501 - lists of values
"""Subjects, issuers and names of certificates: devices of many vendors, test certificates, authorities, clouds and ordinary sites.

Forms are those of vendors' default certificates, of examples in tools and their documentation, and of public authorities.
"""

from __future__ import annotations

import functools
import random
import re
import string
from collections.abc import Callable, Sequence

from tools.synth import templates
from tools.synth.words import brand, domain, person, word

Row = tuple[str, str, str]
Names = list[tuple[str, str]]
_HEX = string.digits + "ABCDEF"
_PLACES = (("US", "California", "San Jose"), ("US", "Texas", "Austin"), ("DE", "Bayern", "Munich"), ("TW", "Taiwan", "Taipei"), ("CN", "Guangdong", "Shenzhen"),
           ("JP", "Tokyo", "Chiyoda-ku"), ("GB", "Greater Manchester", "Salford"), ("FR", "Paris", "Paris"), ("NL", "Noord-Holland", "Amsterdam"), ("KR", "Gyeonggi-do", "Suwon-si"),
           ("SE", "Stockholm", "Kista"), ("IL", "Israel", "Tel Aviv"), ("US", "Washington", "Redmond"), ("CA", "Ontario", "Toronto"), ("IN", "Karnataka", "Bangalore"))  # fmt: skip
_VENDORS = ("Cisco", "Linksys", "D-Link", "TP-LINK", "ZyXEL", "NETGEAR", "Huawei", "ZTE", "Ubiquiti Networks Inc.", "MikroTik", "Juniper Networks", "Aruba Networks",
            "Hewlett-Packard", "Hewlett Packard Enterprise", "Dell Inc.", "Supermicro", "Super Micro Computer", "IBM", "Lenovo", "Fujitsu", "Samsung", "LG Electronics", "Sony",
            "Canon", "Epson", "Brother", "Lexmark", "Xerox", "Ricoh", "KONICA MINOLTA", "Kyocera", "OKI", "Axis Communications AB", "Hikvision", "Dahua", "Bosch", "Vivotek", "Mobotix",
            "Siemens", "Schneider Electric", "ABB", "Moxa", "Advantech", "Lantronix", "Digi International", "Sierra Wireless", "Synology Inc.", "QNAP Systems Inc.", "Buffalo", "Seagate",
            "Western Digital", "Polycom", "Yealink", "Grandstream", "Snom", "Avaya", "Mitel", "AudioCodes", "Technicolor", "Sagemcom", "AVM", "Arris", "Motorola", "Broadcom", "Actiontec",
            "DrayTek", "Billion", "Edimax", "ASUSTeK", "Belkin", "APC", "Eaton", "Raritan", "Avocent", "Ruckus Wireless", "Extreme Networks", "Brocade", "Allied Telesis", "Nokia", "Ericsson",
            "Alcatel-Lucent", "Adtran", "Calix", "Teltonika", "Peplink", "Crestron", "Honeywell", "Johnson Controls", "Tridium", "Philips", "Sonos", "Roku", "Google Chromecast", "Nest Labs",
            "SonicWALL", "WatchGuard Technologies", "Barracuda Networks", "Fortinet", "Palo Alto Networks", "Check Point", "F5 Networks", "Citrix Systems", "Riverbed Technology", "Blue Coat",
            "Arista Networks", "Opengear", "Digium", "Sangoma", "Netgate", "VMware\\, Inc.", "Nutanix", "NetApp", "EMC Corporation", "Dell EMC", "Pure Storage\\, Inc.", "Infoblox",
            "Meraki", "Cambium Networks", "Mimosa Networks", "Ubiquiti", "ARRIS Group\\, Inc.", "Pace", "Humax", "Vodafone", "Swisscom", "Comtrend", "Tenda", "Tilgin", "Inteno", "Axis",
            "Panasonic", "Pelco", "Milestone", "Uniview", "Reolink", "Foscam", "Ring", "Dropcam", "Bose", "Vizio", "TiVo", "Plex", "Sharp", "Toshiba TEC", "Zebra", "Intermec",
            "Rockwell Automation", "Emerson", "Yokogawa", "Phoenix Contact", "WAGO", "Beckhoff", "Carel", "Loxone", "Somfy", "SMA Solar", "Fronius", "ABUS", "Paxton", "HID Global", "Lenel")  # fmt: skip
_MODELS = ("Appliance", "Management Console", "Controller", "Firewall", "SSL VPN", "Lights Out Manager", "Storage", "Print Server", "Access Controller",
           "Thermostat", "PLC", "Inverter", "Media Player", "TV", "Set-Top Box", "Conference Phone", "Video", "Sensor", "Router", "Gateway", "Switch", "AP",
           "Camera", "NAS", "Printer", "IPMI", "BMC", "iLO", "iDRAC", "UPS", "DSL Modem", "Cable Modem", "Phone", "NVR", "Wireless", "Device", "Web Server",
           "VoIP", "PDU", "KVM")  # fmt: skip
_UNITS = ("Networking", "Wireless", "Engineering", "Broadband", "Home Gateway", "Security", "Embedded", "IT", "R&D", "Product", "Remote Access Group", "Device",
          "ISS", "Support", "Firmware")  # fmt: skip
_AUTHORITIES = ("DigiCert Inc", "VeriSign\\, Inc.", "GeoTrust Inc.", "thawte\\, Inc.", "Symantec Corporation", "COMODO CA Limited", "Sectigo Limited", "GlobalSign nv-sa", "Entrust\\, Inc.", "GoDaddy.com\\, Inc.",
                "Starfield Technologies\\, Inc.", "Let's Encrypt", "Google Trust Services", "Amazon", "Microsoft Corporation", "The USERTRUST Network", "AddTrust AB", "Baltimore", "GTE Corporation", "Equifax",
                "StartCom Ltd.", "WoSign CA Limited", "QuoVadis Limited", "SwissSign AG", "Unizeto Technologies S.A.", "Buypass AS-983163327", "TERENA", "DFN-Verein", "D-Trust GmbH", "Deutsche Telekom AG",
                "Actalis S.p.A./03358520967", "Certinomis", "AC Camerfirma S.A.", "Network Solutions L.L.C.", "Trustwave Holdings\\, Inc.", "IdenTrust", "ZeroSSL", "cPanel\\, Inc.", "Gandi", "Apple Inc.", "Cybertrust\\, Inc.",
                "SECOM Trust Systems CO.\\,LTD.", "Chunghwa Telecom Co.\\, Ltd.", "KEYNECTIS", "Verizon Enterprise Solutions", "RSA Data Security\\, Inc.", "TrustAsia Technologies\\, Inc.", "Intermediate Certificate")  # fmt: skip
_KINDS = ("Root CA", "Global Root G{d}", "TLS RSA CA G{d}", "Class {d} Public Primary Certification Authority", "Extended Validation CA", "Domain Validation CA - SHA256 - G{d}", "Secure Server CA", "Root Certification Authority",
          "SHA2 High Assurance Server CA", "ECC CA-{d}", "OV SSL CA 2018", "Organization Validation CA - G{d}", "Intermediate CA", "Secure Certificate Authority", "R{d}", "Code Signing CA", "SSL CA", "Internet Authority G{d}", "OCSP Responder {d}")  # fmt: skip
_CLOUDS = (("*.cloudfront.net", "Amazon", "Amazon RSA 2048 M01"), ("a248.e.akamai.net", "Akamai Technologies\\, Inc.", "DigiCert Secure Site ECC CA-1"), ("*.akamaihd.net", "Akamai Technologies\\, Inc.", "Cybertrust Public SureServer SV CA"),
           ("*.azureedge.net", "Microsoft Corporation", "Microsoft Azure TLS Issuing CA 02"), ("*.blob.core.windows.net", "Microsoft Corporation", "Microsoft IT TLS CA 4"), ("*.s3.amazonaws.com", "Amazon.com\\, Inc.", "DigiCert Baltimore CA-2 G2"),
           ("*.elb.amazonaws.com", "Amazon.com\\, Inc.", "Amazon"), ("*.storage.googleapis.com", "Google LLC", "GTS CA 1C3"), ("*.googleusercontent.com", "Google Inc", "Google Internet Authority G2"), ("*.appspot.com", "Google LLC", "GTS CA 1O1"),
           ("sni.cloudflaressl.com", "Cloudflare\\, Inc.", "Cloudflare Inc ECC CA-3"), ("ssl{n}.cloudflare.com", "CloudFlare\\, Inc.", "COMODO ECC Domain Validation Secure Server CA 2"), ("*.fastly.net", "Fastly\\, Inc.", "GlobalSign CloudSSL CA - SHA256 - G3"),
           ("k.ssl.fastly.net", "Fastly\\, Inc.", "GlobalSign Organization Validation CA - SHA256 - G2"), ("*.herokuapp.com", "Heroku\\, Inc.", "DigiCert SHA2 High Assurance Server CA"), ("*.azurewebsites.net", "Microsoft Corporation", "Microsoft RSA TLS CA 02"),
           ("*.edgecastcdn.net", "Verizon Digital Media Services\\, Inc.", "DigiCert SHA2 Secure Server CA"), ("*.netdna-ssl.com", "NetDNA LLC", "COMODO RSA Domain Validation Secure Server CA"), ("*.b-cdn.net", "", "Sectigo RSA Domain Validation Secure Server CA"),
           ("*.vo.msecnd.net", "Microsoft Corporation", "Microsoft IT SSL SHA2"), ("*.llnwd.net", "Limelight Networks\\, Inc.", "GlobalSign Organization Validation CA - G2"), ("*.execute-api.us-east-1.amazonaws.com", "", "Amazon"), ("*.cdn.office.net", "Microsoft Corporation", "DigiCert Cloud Services CA-1"))  # fmt: skip
_TESTS = ("localhost", "localhost.localdomain", "test", "Test Server", "test.example.com", "example.com", "www.example.com", "*.example.org", "server", "client", "foo.bar.com", "my-test-ca", "Test CA", "Root CA Test", "Intermediate Test CA", "dummy", "sample",
          "dev.local", "testserver.local", "happy hacker fake CA", "Fake LE Intermediate X1", "(STAGING) Artificial Apricot R3", "Pebble Intermediate CA", "unit-test", "127.0.0.1", "ssl.test", "Expired cert", "revoked.test", "self-signed.badssl.com", "selfsigned", "snakeoil",
          "ubuntu", "debian", "TestSigner", "wrong.host.test", "bogus", "invalid", "Easy-RSA CA", "ChangeMe", "Common Name", "nginx-ingress Fake Certificate", "Kubernetes Ingress Controller Fake Certificate", "minica root ca 1a2b3c", "Example Root CA", "RSA 2048 Test", "ecdsa-p256")  # fmt: skip
_COMPANIES = ("Internet Widgits Pty Ltd", "Default Company Ltd", "Example Corp", "Acme Co", "Test", "Test Org", "My Company", "SomeOrganization", "Snake Oil", "ACME Inc.", "Example\\, Inc.", "Foo", "Company", "Fake Org", "OpenSSL Group", "Dummy Ltd", "Lint", "Testing", "Mother Nature")  # fmt: skip


_ROLES = ("root", "intermediate", "leaf", "client", "server", "ca", "sub-ca", "end-entity", "ee", "issuer", "signer", "responder", "user", "alice", "bob", "peer", "device", "node", "agent")  # fmt: skip
_STATES = ("expired", "revoked", "untrusted", "invalid", "weak", "no-san", "wildcard", "name-constraints", "path-length", "not-yet-valid", "bad-signature", "sha1", "md5", "rsa-1024", "rsa2048",
           "ecdsa-p384", "ed25519", "dsa", "self-signed", "cross-signed", "duplicate-extension", "critical", "unknown-extension", "ip-address", "too-long")  # fmt: skip
_FILLERS = ("Some Company", "Any Company Ltd.", "Company Name", "Organization", "Some Org", "Nowhere", "Anytown", "Springfield", "Some City", "City", "Some Street 1", "12345", "00000", "none",
            "foo", "bar", "baz", "qux", "foobar", "abc", "xyz", "asdf", "unknown", "n/a", "value", "string", "empty", "Lorem ipsum", "John Doe", "Jane Doe", "Max Mustermann", "Hello World")  # fmt: skip
_KEYS = ("CN", "CN", "CN", "O", "OU", "L", "ST", "C", "GN", "SN", "DC", "UID", "street", "postalCode", "serialNumber", "emailAddress", "title", "name", "businessCategory", "jurisdictionC", "1.2.3.4.5")  # fmt: skip
_ADDRESSES = ("127.0.0.1", "::1", "0.0.0.0", "192.0.2.{n}", "198.51.100.{n}", "203.0.113.{n}", "2001:db8::{n}", "10.0.0.{n}", "192.168.1.{n}")  # fmt: skip
"""What test suites of libraries call their certificates, what they fill in, and addresses kept for documentation (RFC 5737, RFC 3849)."""
_ABROAD = ("Autorité de certification {w}", "Autoridad de Certificación Raíz {w}", "Autoridade Certificadora Raiz {w}", "{w} Tanúsítványkiadó", "Główny Urząd Certyfikacji {w}", "{w} Kök Sertifika Hizmet Sağlayıcısı",
           "Kořenová certifikační autorita {w}", "Удостоверяющий центр {w}", "{w} Zertifizierungsstelle", "{w} Stamcertificaat", "Entidade de Certificação {w}", "{w} GPKI Root CA",
           "{w} Bank Root CA", "{w} National Root Certification Authority - G{d}", "{w} Root {d}", "{w} Trust Center Class {d} CA",
           "{w} Server Certification Authority {d}", "{w} Certificate Authority", "{w} Root Certificate Authority 20{n}", "{w} PKI Root", "{w} Qualified CA {d}", "{w} EV Root CA {d}", "{w} ECC Root CA R{d}")  # fmt: skip
"""Authorities of states, banks and companies in several languages."""
_COUNTRIES = ("ES", "HU", "CZ", "SI", "TR", "BR", "FR", "PT", "PL", "KR", "JP", "TW", "HK", "ZA", "VE", "CO", "MX", "GR", "FI", "NO", "IT", "IN", "AU", "US")  # fmt: skip


def _draw(rng: random.Random, alphabet: str, count: int) -> str:
    return "".join(rng.choices(alphabet, k=count))


def _name(parts: Names, first: bool) -> str:
    """A name as Zeek (CN first) or Suricata (CN last) writes it."""
    joined = [f"{key}={value}" for key, value in parts]
    return ",".join(joined) if first else ", ".join(reversed(joined)).replace("\\,", ",")


def _text(rng: random.Random, subject: Names, issuer: Names | None, names: list[str]) -> str:
    first = rng.random() < 0.5
    issued = subject if issuer is None else issuer
    text = f"subject={_name(subject, first)}"
    if rng.random() < 0.85:
        text += f" issuer={_name(issued, first)}"
    return text + (f" san={','.join(names)}" if names and rng.random() < 0.6 else "")


def _where(rng: random.Random) -> Names:
    country, state, city = rng.choice(_PLACES)
    return [("L", city), ("ST", state), ("C", country)][rng.randint(0, 2) :]


def _authority(rng: random.Random) -> Names:
    owner = rng.choice(_AUTHORITIES)
    kind = rng.choice(_KINDS).format(d=rng.randint(1, 5))
    bare = owner.split("\\")[0].replace(" Inc", "").replace(" Limited", "").replace(" Ltd.", "").replace(".com", "")
    unit = [
        (
            "OU",
            rng.choice(
                (
                    "www.digicert.com",
                    "VeriSign Trust Network",
                    "Domain Control Validated",
                    "Certification Services",
                    "http://certs.godaddy.com/repository/",
                )
            ),
        )
    ] * (rng.random() < 0.25)
    return [
        ("CN", f"{bare} {kind}" if rng.random() < 0.8 else kind),
        *unit,
        ("O", owner),
        ("C", rng.choice(("US", "US", "GB", "BE", "DE", "IE", "PL", "CH", "FR", "JP"))),
    ]


def _abroad(rng: random.Random) -> Names:
    name = rng.choice((brand, word))(rng).title()
    common = rng.choice(_ABROAD).format(w=name, d=rng.randint(1, 5), n=rng.randint(10, 26))
    owner = f"{name} {rng.choice(('S.A.', 'a.s.', 'Kft.', 'Ltd.', 'GmbH', 'd.d.', 'Government', 'Ministry', 'Trust Services', 'Authority', 'Agency', 'AG', 'Oy'))}"
    country = rng.choice(_COUNTRIES)
    units = ("PKI", "Certification Authorities", "GPKI", "Trust Center", "Root CA", f"{name} Root CA")
    unit = [("OU", rng.choice(units))] * rng.randint(0, 1)
    return [("CN", common), *unit, *([("O", owner)] * (rng.random() < 0.85)), ("C", country)]


def _ca(rng: random.Random) -> str:
    if rng.random() < 0.35:
        return _text(rng, _abroad(rng), None if rng.random() < 0.7 else _abroad(rng), [])
    return _text(rng, _authority(rng), None if rng.random() < 0.5 else _authority(rng), [])


def _device(rng: random.Random) -> str:
    vendor, model = rng.choice(_VENDORS), rng.choice(_MODELS)
    if rng.random() < 0.15:
        vendor = f"{brand(rng)} {rng.choice(('Networks', 'Electronics', 'Technologies', 'Systems', 'Communications', 'Wireless'))}"
    address = f"192.168.{rng.randint(0, 2)}.{rng.choice((1, 254, 100))}"
    serial = rng.choice(
        (
            _draw(rng, _HEX, 12),
            ":".join(_draw(rng, _HEX, 2) for _ in range(6)),
            _draw(rng, string.digits, 10),
            f"{_draw(rng, string.ascii_uppercase, 2)}{_draw(rng, string.digits, 8)}",
        )
    )
    name = rng.choice(
        (
            address,
            serial,
            f"{model}-{serial}",
            f"{vendor} {model}",
            f"{vendor.split()[0]}-{_draw(rng, _HEX, 6)}",
            vendor,
            f"{model}",
            f"{vendor.split()[0].lower()}router.net",
            f"{word(rng)}.local",
            "IPC",
            f"{vendor.split()[0]}Default",
        )
    )
    subject: Names = [("CN", name)]
    if rng.random() < 0.6:
        subject.append(("OU", rng.choice((*_UNITS, model, f"{vendor} {model}"))))
    if rng.random() < 0.85 or name in (address, serial):
        subject.append(("O", vendor))
    subject += _where(rng) if rng.random() < 0.7 else []
    if rng.random() < 0.2:
        subject.insert(0, ("emailAddress", f"support@{vendor.split()[0].lower()}.com"))
    own: Names = [("CN", f"{vendor} {rng.choice(('Root CA', 'Manufacturing CA', 'Device CA', 'CA', 'Self-Signed'))}"), ("O", vendor)]
    return _text(rng, subject, None if rng.random() < 0.7 else own, [])


def _filler(rng: random.Random) -> str:
    roll = rng.random()
    if roll < 0.35:
        return rng.choice(_FILLERS)
    if roll < 0.6:
        return f"{rng.choice(('', 'test', 'my', 'fake', 'dummy'))}{rng.choice(_ROLES)}{rng.choice(('', '_', '-'))}{rng.choice(('', str(rng.randint(1, 20)), rng.choice(_STATES)))}"
    if roll < 0.8:
        return rng.choice(
            (
                rng.choice(_STATES),
                rng.choice(_ADDRESSES).format(n=rng.randint(1, 99)),
                f"test {rng.choice(_STATES)}",
                f"{rng.choice(_STATES)}.{rng.choice(('test', 'example', 'invalid', 'local'))}",
            )
        )
    return f"{word(rng)}{rng.choice(('_', ' ', '-'))}{word(rng)}"


def _suite(rng: random.Random) -> str:
    """A certificate of a library's test suite: bare roles, oddities under test, fillers in any attribute."""
    subject: Names = [(rng.choice(_KEYS), _filler(rng)) for _ in range(rng.randint(1, 3))]
    subject += _where(rng) if rng.random() < 0.3 else []
    issuer: Names | None = [("CN", _filler(rng)), *([("O", rng.choice((*_FILLERS, *_COMPANIES)))] * rng.randint(0, 1))]
    name = rng.choice(
        (
            f"www.{word(rng)}.com",
            f"*.{word(rng)}.com",
            "localhost",
            rng.choice(_ADDRESSES).format(n=1),
            f"{rng.choice(_STATES)}.example.com",
        )
    )
    return _text(rng, subject, None if rng.random() < 0.4 else issuer, [name] if rng.random() < 0.3 else [])


def _test(rng: random.Random) -> str:
    if rng.random() < 0.45:
        return _suite(rng)
    subject: Names = [
        (
            "CN",
            rng.choice(
                (
                    *_TESTS,
                    f"test{rng.randint(1, 99)}",
                    f"{word(rng)}.test",
                    f"{word(rng)}.localhost",
                    f"{word(rng)}-test",
                    f"{word(rng)}.invalid",
                    f"{word(rng)}.example.com",
                )
            ),
        )
    ]
    if rng.random() < 0.3:
        subject.append(
            ("OU", rng.choice(("Testing", "Dev", "QA", "Unit Test", "Engineering", "SomeOrganizationalUnit", "IT", "s2n", "Development")))
        )
    if rng.random() < 0.6:
        subject.append(("O", rng.choice(_COMPANIES)))
    subject += rng.choice(
        (
            [("ST", "Some-State"), ("C", "AU")],
            [("L", "Default City"), ("C", "XX")],
            [("L", "SomeCity"), ("ST", "SomeState"), ("C", "--")],
            [],
            _where(rng),
        )
    )
    other: Names = [("CN", rng.choice(_TESTS)), ("O", rng.choice(_COMPANIES))]
    return _text(rng, subject, None if rng.random() < 0.5 else other, [])


def _cloud(rng: random.Random) -> str:
    name, owner, by = rng.choice(_CLOUDS)
    name = name.format(n=rng.randint(1000, 99999))
    if rng.random() < 0.4 and name.startswith("*."):
        name = f"{word(rng)}{rng.choice(('', '-prod', str(rng.randrange(99))))}{name[1:]}"
    subject: Names = [("CN", name), *([("O", owner), *_where(rng)] if owner and rng.random() < 0.7 else [])]
    names = [name, *[f"{rng.choice(('*.', 'www.', ''))}{domain(rng)}" for _ in range(rng.randint(0, 5))]]
    return _text(rng, subject, [("CN", by), ("O", rng.choice(_AUTHORITIES)), ("C", "US")], names)


def _site(rng: random.Random) -> str:
    name = next(found for found in iter(lambda: domain(rng), "") if "example" not in found)  # those are tests
    host = rng.choice((name, f"www.{name}", f"*.{name}", f"mail.{name}", f"{word(rng)}.{name}"))
    subject: Names = [("CN", host)]
    roll = rng.random()
    if roll < 0.25:
        subject.append(
            (
                "OU",
                rng.choice(
                    (
                        "Domain Control Validated",
                        "PositiveSSL",
                        "EssentialSSL Wildcard",
                        "GT" + _draw(rng, string.digits, 8),
                        "See www.rapidssl.com/resources/cps (c)14",
                        "Hosted by " + brand(rng),
                        "PositiveSSL Multi-Domain",
                    )
                ),
            )
        )
    elif roll < 0.6:
        subject += [
            *[("OU", rng.choice(("IT", "Web Operations", "Infrastructure", "Marketing", "Terms of use at www.verisign.com/rpa (c)05")))]
            * rng.randint(0, 1),
            ("O", f"{brand(rng)} {rng.choice(('Inc.', 'GmbH', 'Ltd', 'S.A.', 'LLC', 'Corporation', 'University', 'B.V.'))}"),
            *_where(rng),
        ]
    if rng.random() < 0.1:
        subject.insert(0, ("serialNumber", _draw(rng, string.digits, 8)))
    owner = rng.random()
    if owner < 0.15:
        subject = [("CN", host), ("O", rng.choice(_CLOUDS)[1] or "Amazon.com\\, Inc."), *_where(rng)]
    issuer = [("CN", rng.choice(_CLOUDS)[2]), ("O", rng.choice(_AUTHORITIES)), ("C", "US")] if owner < 0.3 else _authority(rng)
    names = [
        host,
        name,
        *[f"{word(rng)}.{name}" for _ in range(rng.randint(0, 4))],
        *([f"{person(rng).split()[0].lower()}.{domain(rng)}"] * rng.randint(0, 1)),
    ]
    return _text(rng, subject, issuer, names)


def _tor(rng: random.Random) -> str:
    alphabet = string.ascii_lowercase + "234567"
    subject: Names = [("CN", f"www.{_draw(rng, alphabet, rng.randint(8, 20))}.net")]
    return _text(rng, subject, [("CN", f"www.{_draw(rng, alphabet, rng.randint(8, 20))}.com")], [])


FILE = "certificates.txt"
_SLOTS: dict[str, Callable[[random.Random], str]] = {
    "w": brand,
    "v": word,
    "first": lambda rng: person(rng).split()[0].lower(),
    "m": lambda rng: ":".join(_draw(rng, _HEX, 2) for _ in range(6)),
    "ca": lambda rng: _authority(rng)[0][1],
    "auth": lambda rng: rng.choice(_AUTHORITIES),
    **{f"n{k}": functools.partial(_draw, alphabet=string.digits, count=k) for k in range(1, 17)},
    **{f"x{k}": functools.partial(_draw, alphabet=_HEX, count=k) for k in range(1, 33)},
    **{f"S{k}": functools.partial(_draw, alphabet=string.ascii_uppercase, count=k) for k in range(1, 5)},
}
"""Slots of the templates: names, words, digits, hexadecimal digits, capitals."""
KNOWN = {"network-device-iot": 0.5, "development-test": 0.4, "cloud-cdn": 0.5, "public-website": 0.3}
"""Share of a label's rows that are made of the templates of products, suites and services that everybody knows."""


def _names(text: str) -> Names:
    """Attributes of a filled template; empty ones are left out."""
    pairs = [part.partition("=") for part in text.split(" ; ")]
    return [(key.strip(), value.strip()) for key, _, value in pairs if value.strip()]


def known(rng: random.Random, label: str) -> str:
    """A certificate of a template of a label in ``wordlists/certificates.txt``."""
    texts, weights = templates.groups(FILE)[label]
    subject, _, issuer = templates.fill(rng, rng.choices(texts, weights)[0], _SLOTS).partition(" < ")
    found = _names(subject)
    hosts = [value for key, value in found if key == "CN" and "." in value and " " not in value]
    return _text(rng, found, _names(issuer) or None, hosts)


FORMS: dict[str, Callable[[random.Random], str]] = {
    "public-ca": _ca, "network-device-iot": _device, "development-test": _test, "cloud-cdn": _cloud, "public-website": _site, "tor": _tor,
}  # fmt: skip


def generate(rng: random.Random, n: int) -> list[Row]:
    """Make ``n`` rows, equally many of each class of ``FORMS``."""
    labels = list(FORMS)
    rows = []
    for i in range(n):
        label = labels[i % len(labels)]
        text = known(rng, label) if rng.random() < KNOWN.get(label, 0.0) else FORMS[label](rng)
        rows.append((text, label, "wordlist"))
    return rows


_PARTS = re.compile(r"\b(?=(?:subject|issuer|san)=)")
_ATTRIBUTES = re.compile(r",\s*(?=[A-Za-z0-9.]{1,24}=)")


def _some(rng: random.Random, parts: list[str], share: float, first: bool) -> list[str]:
    """A part of a list, never an empty one; the first stays with ``first``."""
    kept = [part for i, part in enumerate(parts) if (first and not i) or rng.random() < share]
    return kept or parts[:1]


def shortened(rng: random.Random, rows: Sequence[tuple[str, str]], count: int) -> list[Row]:
    """Rows (text, label) with parts and attributes left out: captures, scanners and logs show more or less of one certificate."""
    found: list[Row] = []
    for text, label in rng.choices(rows, k=count) if rows else ():
        parts = [part for part in _PARTS.split(text) if part]
        shown = _some(rng, parts, 0.6, first=False) if rng.random() < 0.5 else parts
        changed = []
        for part in shown:
            attributes = _ATTRIBUTES.split(part.strip())
            changed.append(",".join(_some(rng, attributes, 0.7, first=True) if rng.random() < 0.5 else attributes))
        found.append((" ".join(changed), label, "shortened"))
    return found
