"""Is a candidate what it looks like? Look-alikes are told by their value, their name, and the line around.

The checks follow what BigCode found necessary (SantaCoder, arXiv 2301.03988, section 4.1): placeholders, hashes,
versions, documentation addresses, public resolvers and identifiers are no secrets. The filters for sequences, UUIDs
and references are those of detect-secrets, called on a piece of a line, never on a file.
"""

from __future__ import annotations

import importlib.resources
import ipaddress
import json
import math
import re
from collections import Counter
from functools import cache, lru_cache
from itertools import pairwise
from typing import Any

from pipelines.stages.secret_words import (
    HARMLESS_NAMES,
    KEY_NAMES,
    PLACEHOLDER_DOMAINS,
    PLACEHOLDER_USERS,
    PLACEHOLDERS,
    PUBLIC_RESOLVERS,
    RESERVED_DOMAINS,
    TOP_LEVEL_DOMAINS,
)

_KEYWORD = re.compile(r"(?i)pass|pwd|secret|token|key|credential")
_SECRET_KEYWORD = re.compile(r"(?i)secret|token|credential|(?:api|access|auth|private)key")
_NAME = re.compile(r"[\w-]+")
_WORD_PARTS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+")
_HASH_WORDS = re.compile(
    r"sha\d*\b|sha[-_]?\d|md5|hash|checksum|digest|integrity|commit|fingerprint|etag|thumbprint|byte"
)
_HOST_WORDS = re.compile(
    r"\b(?:ip|ipv4|ips|host|server|dns|addr|address|ping|ssh|peer|node|gateway|proxy|remote|http|https)\b"
    r"|_ip\b|ip_|://|Host|Addr|IP"
)
_NUMBER_BEFORE = re.compile(r"(?:^|[^\d.])-?\d*\.?\d+[ ,]-?$")
_VERSION_WORDS = re.compile(
    r"(?i)version|\bver\b|\bv\s*$|release|\brev\b|section|chapter|clause|§|\bsec\.|\brfc\b|oid|objectidentifier"
    r"|firmware|chrome/|gecko|build|draft|update|cudnn|(?:==|[<>~]=|~>|\^)\s*[\"']?$"
)
_FILE_OR_URL = r"://|\.(?:com|json|ya?ml|txt|pem|key|crt|py|js|html?|php|xml)$"
_REFERENCE = re.compile(
    r"[%@#&]\w+$|[%~][a-z]$|[.~\\\[(#<]|/[\w.-]*[a-z]{3,}[\w.-]*(?:/|$)|\{|--|__"  # how one begins
    r"|.*(?:[{}<>\\]|/\*|\[:|\w\[|\(\)|\[\]|\(\?|%[sd])",  # what one has in it
)
# 'one', 'two': the name is rather the element before than the name of this one, unless it is set("name", "value").
_LISTED = re.compile(r"""^(?!.*\w\s*\(\s*["'][\w.-]+["']\s*,\s*["']$).*["'`]\s*,\s*\w?["'`]$""")
_CONCATENATED = (" %", ".format", " + ", '" +', "' +", '" .', "' .")
_EXAMPLE = re.compile(r"example|x{5,}|your|dummy|fake|\.\.\.|abcdefg|1234567|0{6,}")


def is_email(value: str, before: str, after: str) -> bool:
    """An address that somebody may read: not reserved or a placeholder, no user of a URL, no expression."""
    user, _, domain = value.lower().partition("@")
    labels = domain.split(".")
    if labels[-1] not in TOP_LEVEL_DOMAINS or any(not label or label[0] == "-" for label in labels):
        return False
    if user in PLACEHOLDER_USERS or ".." in user or labels[-1] in RESERVED_DOMAINS:
        return False
    if any(domain == name or domain.endswith("." + name) for name in PLACEHOLDER_DOMAINS):
        return False
    if labels[-2] in ("example", "yourdomain", "domain", "yourcompany"):
        return False
    # x@w.to(device), ssh://user@host.com/, git@host.org:path, a@b.com@c
    return not (
        after[:1] in ("(", "[", "@") or before.endswith(("//", "@")) or re.match(r":[\w~/]*[A-Za-z/]", after)
    )


def is_public_address(value: str, before: str, after: str) -> bool:
    """An address of a machine on the internet: no resolver, no network, no version, no documentation."""
    try:
        address = ipaddress.ip_address(value)
    except ValueError:
        return False
    if not address.is_global or address.is_multicast or str(address) in PUBLIC_RESOLVERS:
        return False
    if (network := re.match(r"/(\d{1,3})\b", after)) and int(network[1]) < address.max_prefixlen:
        return False
    if address.version == 6:
        # A slice or a time has two colons.
        return value.count(":") >= 3
    octets = value.split(".")
    if octets[3] == "0" or len(set(octets)) == 1 or re.match(r"[-+]\w|\.[a-z]", after):
        return False
    # A part of a name, or of a longer address.
    if before.endswith(("-", "#", "::")) or _VERSION_WORDS.search(before):
        return False
    # The coordinates of a drawing: "-.52 1.08.58 1.23.82.72 0 0".
    numbers = _NUMBER_BEFORE.search(before) and re.match(r"[ ,]-?[\d.]", after)
    if numbers or sum(c in "0123456789. ,-" for c in before[-24:]) > 20:
        return False
    # Small numbers are rather a version, a section or an object identifier, unless hosts are talked about.
    if sum(len(octet) == 1 for octet in octets) < 2 and octets[0] not in ("1", "2"):
        return True
    return bool(_HOST_WORDS.search(before[-40:]) or re.match(r":\d{2,5}\b", after))


def is_password(value: str, before: str, after: str) -> bool:
    """A literal that could open something: not a word, a path, a message, a reference, a placeholder."""
    if not _names_a_password(before) or is_placeholder(value) or _refers(value, after):
        return False
    if len(value) > 64 or not value.isascii() or value.isalpha():
        return False
    if _LISTED.search(before) or (value[-1] in ":?!," and not re.search(r"\d", value)):
        return False
    return not _identifier(value)


def is_url_password(value: str, before: str) -> bool:
    """The password of a URL, which no name announces: neither a plain word nor the user's name again."""
    user = re.search(r"//([^:/]*):$", before)
    if len(value) < 4 or (value.isalpha() and value.islower()) or (user and user[1] == value):
        return False
    return not (is_placeholder(value) or _refers(value, "") or value.lower() == "passw0rd")


def is_key(value: str, before: str, after: str, *, bearer: bool = False) -> bool:
    """A value that was drawn at random, in a name that holds secrets."""
    from detect_secrets.filters import heuristic

    if not bearer and (not _names_a_key(before) or _LISTED.search(before)):
        return False
    if is_placeholder(value) or _refers(value, after) or heuristic.is_potential_uuid(value):
        return False
    if not re.fullmatch(r"[\w+/=.~:!@#$%^&*|-]+", value) or re.search(r"^arn:|^[.~]", value):
        return False
    line = before[-80:].lower()
    if re.fullmatch(r"[0-9a-fA-F]+", value):
        hashed = len(value) in (32, 40, 64, 96, 128) and _HASH_WORDS.search(line)
        if hashed or len(value) < 20 or "public" in line:
            return False
    return is_random(value)


def is_token(value: str) -> bool:
    """A token of a known form, unless it says that it is an example."""
    drawn = value[8:] if len(value) > 24 else value
    return not (_EXAMPLE.search(drawn.lower()) or _one_finger(drawn))


def is_random(value: str) -> bool:
    """High entropy for its length, and not made of words.

    Limits of detect-secrets: 3 bits a character where only hexadecimal digits occur, else 4.5 for long values, which
    short ones cannot reach (log2 of the length bounds the entropy).
    """
    entropy = -sum(n / len(value) * math.log2(n / len(value)) for n in Counter(value).values())
    if re.fullmatch(r"[0-9a-fA-F-]+", value):
        return entropy > 3.0 and bool(re.search(r"[a-fA-F]", value) and re.search(r"\d", value))
    if entropy < min(4.5, 0.8 * math.log2(len(value))):
        return False
    words = re.findall(r"[A-Z]?[a-z]{3,}|[A-Z]{4,}", value)
    return sum(len(word) for word in words if surprise(word) < 4.2) < 0.5 * len(value)


@lru_cache(maxsize=1 << 12)
def surprise(word: str) -> float:
    """Bits per letter by which each letter surprises after the one before: words 3 to 4, random letters over 5.

    The counts are those that detect-secrets ships for its gibberish filter.
    """
    counts, totals = _bigrams()
    bits = [math.log2(totals[a] / max(counts[a].get(b, 0), 1)) for a, b in pairwise(word.lower())]
    return sum(bits) / len(bits) if bits else 0.0


def is_placeholder(value: str) -> bool:
    """Whether a value says of itself that it is none: by its words, or by being typed with one finger."""
    from detect_secrets.filters import heuristic

    lower = value.lower()
    if any(word in lower for word in PLACEHOLDERS):
        return True
    return _one_finger(value) or heuristic.is_templated_secret(value)


def _one_finger(value: str) -> bool:
    from detect_secrets.filters import heuristic

    return len(set(value.lower())) < min(5, len(value)) or heuristic.is_sequential_string(value)


def _refers(value: str, after: str) -> bool:
    """Whether a value is a name, a pattern or a template of something else, or a part of an expression."""
    from detect_secrets.filters import heuristic

    if heuristic.is_prefixed_with_dollar_sign(value) or (
        heuristic.is_not_alphanumeric_string(value) and len(value) < 6
    ):
        return True
    return bool(_REFERENCE.match(value) or re.search(_FILE_OR_URL, value)) or after.startswith(_CONCATENATED)


def _identifier(value: str) -> bool:
    """Words joined as code joins them: user.password, auth-token, MAX_LENGTH, camelCase, "id1"."""
    parts = _WORD_PARTS.findall(value)
    words = [part for part in parts if part.isalpha()]
    if not words or sum(map(len, parts)) + len(re.findall(r"[_.:/=+-]", value)) < len(value):
        return False
    if any(len(word) > 2 and surprise(word) >= 5.0 for word in words):
        return False
    numbers = [part for part in parts if part.isdigit()]
    return not numbers or (len(numbers) == 1 and len(numbers[0]) <= 2 and value.endswith(numbers[0]))


def _name(before: str) -> tuple[str, list[str]]:
    """The last word with a keyword in it, and its parts; none when it is about a secret. A type may follow it."""
    name = next((word for word in reversed(_NAME.findall(before[-120:])) if _KEYWORD.search(word)), "")
    parts = [part.lower() for part in _WORD_PARTS.findall(name)]
    if not parts or parts[-1] in HARMLESS_NAMES or "public" in parts or "csrf" in parts:
        return "", []
    return name, parts


def _names_a_password(before: str) -> bool:
    name, parts = _name(before)
    if re.search(r"(?i)password|passwd|passphrase|passwort|pwd$", name) or "pwd" in parts:
        return True
    # A pass is also what one does: "pass 'x'" is prose, and a passport is none.
    return "pass" in parts and not re.search(r"(?i)\bpass\s*[\"']$", before)


def _names_a_key(before: str) -> bool:
    name, parts = _name(before)
    if _SECRET_KEYWORD.search(name):
        return True
    return any(a in KEY_NAMES and b in ("key", "keys") for a, b in pairwise(parts))


@cache
def _bigrams() -> tuple[dict[str, dict[str, int]], dict[str, int]]:
    model = importlib.resources.files("detect_secrets") / "filters" / "gibberish" / "rfc.model"
    counts: dict[str, Any] = json.loads(model.read_text(encoding="utf-8"))["counts"]
    return counts, {first: sum(followers.values()) for first, followers in counts.items()}
