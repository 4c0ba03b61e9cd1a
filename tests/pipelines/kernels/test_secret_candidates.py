"""Candidates against regular expressions that look at every place, and against texts made to take long."""

from __future__ import annotations

import ipaddress
import re
import time

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.kernels.secret_candidates import candidates
from pipelines.kernels.secret_shapes import (
    ASSIGNED_KEY,
    ASSIGNED_PASSWORD,
    BEARER,
    EMAIL,
    FIRST_TOKEN,
    IPV4,
    IPV6,
    TOKENS,
    URL_PASSWORD,
)

LIMIT = 1000


def found(text: str, kinds: tuple[int, ...], *, bare: bool = False) -> list[str]:
    column = pa.chunked_array([pa.array([text], pa.large_string())])
    (part,) = candidates(column, np.array([bare]), LIMIT)
    rows = zip(part.kind, part.begin, part.end, strict=True)
    return [text.encode()[begin:end].decode() for kind, begin, end in rows if kind in kinds]


def emails(text: str) -> list[str]:
    """Every "@" with the longest address around it."""
    result = []
    for at in (match.start() for match in re.finditer("@", text)):
        domain = re.sub(r"[^A-Za-z0-9]+$", "", re.match(r"[A-Za-z0-9.-]*", text[at + 1 :])[0])  # type: ignore[index]
        user = re.search(r"[A-Za-z0-9._%+-]*$", text[:at])[0]  # type: ignore[index]
        if text[: at - len(user)].endswith("\\"):
            user = user[{"u": 5, "x": 3}.get(user[:1], 1) :]
        user = re.sub(r"^[^A-Za-z0-9]+", "", user)
        if user and re.search(r".\.[A-Za-z]{2,}$", domain):
            result.append(f"{user}@{domain}")
    return result


# Not on the internet either, but global to Python.
_RESERVED = re.compile(r"0\.|127\.|192\.0\.0\.|100\.(?:6[4-9]|[7-9]\d|1[01]\d|12[0-7])\.")


def addresses(text: str) -> list[str]:
    """Dotted quads that are no part of a longer number and are addresses of the internet."""
    result = []
    for match in re.findall(r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?!\w)(?!\.\d)", text, re.ASCII):
        try:
            address = ipaddress.IPv4Address(match)
        except ValueError:
            continue
        if not (address.is_private or address.packed[0] >= 224 or _RESERVED.match(match)):
            result.append(match)
    return result


pieces = st.sampled_from(
    [
        "\\",
        "n",
        "u003c",
        "x3c",
        "a",
        "Z9",
        "@",
        ".",
        "..",
        "-",
        "+",
        "_",
        " ",
        "\n",
        "\x00",
        "\ufeff",
        "é",
        "io",
        "com",
        "x@y.de",
        "(",
        "<",
        "%",
    ]
)
numbers = st.sampled_from(
    [
        *"18..... \n-aé",
        "23",
        "01",
        "223",
        "224",
        "255",
        "256",
        "1000",
        "..",
        "192.168",
        "10.0",
        "100.64.1",
        "198.51.100",
    ]
)


@settings(max_examples=500, deadline=None)
@given(st.lists(pieces, max_size=25).map("".join))
def test_emails_equal_the_expression(text: str) -> None:
    assert found(text, (EMAIL,)) == emails(text)


@settings(max_examples=800, deadline=None)
@given(st.lists(numbers, max_size=20).map("".join))
def test_ipv4_addresses_equal_the_expression(text: str) -> None:
    assert found(text, (IPV4,)) == addresses(text)


@pytest.mark.parametrize("token", TOKENS, ids=lambda token: token.literal.decode())
def test_every_token_is_seen_with_enough_behind_it_and_not_with_less(token: object) -> None:
    index = TOKENS.index(token)  # type: ignore[arg-type]
    literal, run = TOKENS[index].literal.decode(), TOKENS[index].run
    text = f'x = "{literal}{"a1" * run}"'
    assert literal + ("a1" * run)[:run] in found(text, (FIRST_TOKEN + index,))
    if run:
        assert found(f'"{literal}{("a1" * run)[: run - 1]}"', (FIRST_TOKEN + index,)) == []


V = "k3Yx9bQ2mZ7pW4tR"
ASSIGNED = (
    'api_key = "{}"',
    "API_KEY='{}'",
    '"apiKey": "{}"',
    "'secret' => '{}'",
    'secret := "{}"',
    "token: `{}`",
    "<token>{}</token>",
    'setToken("{}")',
    'put("token", "{}")',
    '#define SECRET "{}"',
    'char secret[64] = "{}"',
    'std::string secret("{}")',
    "config['secret_key'] = '{}'",
    'token: str = "{}"',
    'token: Option<&str> = "{}"',
    'var token string = "{}"',
    'const SECRET: &str = "{}"',
    'token = b"{}"',
    'token = @"{}"',
    '{{\\"token\\": \\"{}\\"}}',
    'if token == "{}"',
    'token != "{}"',
)


@pytest.mark.parametrize("template", ASSIGNED)
def test_every_way_of_giving_a_value_to_a_name(template: str) -> None:
    assert set(found(template.format(V), (ASSIGNED_KEY,))) == {V}  # by each keyword of the name


@pytest.mark.parametrize("text", [f"token: {V}", f"TOKEN={V}\n", f"- token:   {V} # x"])
def test_bare_values_only_where_the_language_has_them(text: str) -> None:
    assert found(text, (ASSIGNED_KEY,), bare=True) == [V]
    assert found(text, (ASSIGNED_KEY,)) == []


@pytest.mark.parametrize(
    "text",
    [
        f'tokenizer = "{V}"',
        f'keyboard = "{V}"',
        f'token, other = "{V}"',
        f"token = call({V})",
        'token = "two words 1"',
        'token = "short1"',
        'password = "lowercase"',
        f'token\n= "{V}"',
        f'token = "{V}',
        "token = '" + "a1" * 300 + "'",
        "token",
        'token = "',
    ],
)
def test_what_is_no_assignment(text: str) -> None:
    assert found(text, (ASSIGNED_KEY, ASSIGNED_PASSWORD)) == []


def test_urls_bearers_and_ipv6() -> None:
    assert found("postgres://me:pa55@host/db", (URL_PASSWORD,)) == ["pa55"]
    assert found("http://host:80/a@b", (URL_PASSWORD,)) == []
    assert found(f"Authorization: Bearer {V}\n", (BEARER,)) == [V]
    assert found("[2a01:4f8:1::2]:80", (IPV6,)) == ["2a01:4f8:1::2"]
    assert found("std::2a01 12:30:45", (IPV6,)) == []


ADVERSARIAL = {
    "@": "@" * 1_000_000,
    "a@": "a@" * 500_000,
    "one endless domain": "a@" + "b." * 500_000,
    "dots and digits": "1." * 500_000,
    "colons": "2a01:" * 200_000,
    "keywords": "password" * 120_000,
    "assignments without an end": 'token="' * 140_000,
    "urls": "://:" * 250_000,
    "literals": "AKIA" * 250_000,
    "private keys": "-----BEGIN RSA PRIVATE KEY-----" * 30_000,
    "one long line": "x" * 10_000_000,
}


@pytest.mark.parametrize("text", ADVERSARIAL.values(), ids=ADVERSARIAL)
def test_adversarial_text_takes_bounded_time(text: str) -> None:
    column = pa.chunked_array([pa.array([text, "a@b.org"], pa.large_string())])
    start = time.process_time()
    (part,) = candidates(column, np.array([True, False]), LIMIT)
    # A hundred times what code takes would be 0.2 s per MB.
    assert time.process_time() - start < 2
    assert (part.document == 0).sum() <= LIMIT
    assert part.overflow.tolist()[1] is False
    assert part.document[-1] == 1  # the next document is not lost, whatever the one before did
