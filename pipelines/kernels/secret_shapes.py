"""What secrets and addresses look like: trigrams, literals and classes of bytes, for `secret_candidates`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

EMAIL, IPV4, IPV6, URL_PASSWORD, PEM, ASSIGNED_PASSWORD, ASSIGNED_KEY, BEARER = range(8)
"""Kinds of candidates. A known token is a kind of its own: FIRST_TOKEN + its place in TOKENS."""
FIRST_TOKEN = 16


@dataclass(frozen=True, slots=True)
class Token:
    """A literal that tokens of a provider have, and how many token characters must follow it."""

    literal: bytes
    anchor: int  # where the trigram that gives it away starts: a rare one
    run: int


TOKENS = (
    Token(b"AKIA", 1, 16),  # AWS
    Token(b"ASIA", 1, 16),
    Token(b"ABIA", 1, 16),
    Token(b"ACCA", 1, 16),
    Token(b"ghp_", 1, 36),  # GitHub
    Token(b"gho_", 1, 36),
    Token(b"ghu_", 1, 36),
    Token(b"ghs_", 1, 36),
    Token(b"ghr_", 1, 36),
    Token(b"github_pat_", 5, 60),
    Token(b"glpat-", 0, 20),  # GitLab
    Token(b"gldt-", 1, 20),
    Token(b"glft-", 1, 20),
    Token(b"glrt-", 1, 20),
    Token(b"glsoat-", 3, 20),
    Token(b"glptt-", 0, 40),
    Token(b"GR1348941", 1, 20),
    Token(b"xoxa-", 0, 20),  # Slack
    Token(b"xoxb-", 0, 20),
    Token(b"xoxp-", 0, 20),
    Token(b"xoxo-", 0, 20),
    Token(b"xoxs-", 0, 20),
    Token(b"xoxr-", 0, 20),
    Token(b"hooks.slack.com/services/", 9, 30),
    Token(b"sk_live_", 1, 24),  # Stripe
    Token(b"rk_live_", 1, 24),
    Token(b"SG.", 0, 60),  # SendGrid
    Token(b"npm_", 1, 36),
    Token(b"pypi-AgE", 1, 70),
    Token(b"AIza", 0, 35),  # Google
    Token(b"ya29.", 1, 30),
    Token(b"eyJ", 0, 30),  # JSON Web Token
    Token(b"sq0csp-", 1, 43),  # Square
    Token(b"sq0atp-", 1, 22),
    *(Token(f"-us{digit}".encode(), 0, 0) for digit in range(1, 10)),  # Mailchimp
    Token(b"AccountKey=", 5, 80),  # Azure
    Token(b"T3BlbkFJ", 0, 20),  # OpenAI
    Token(b"sk-proj-", 2, 40),
    Token(b"sk-ant-", 2, 40),
    Token(b"AKC", 0, 10),  # Artifactory
    Token(b"hf_", 0, 30),  # Hugging Face
    Token(b"dop_v1_", 2, 64),  # DigitalOcean
    Token(b"shpat_", 1, 32),  # Shopify
    Token(b"AGE-SECRET-KEY-1", 5, 50),
    *(Token(b"SK" + digit.encode(), 0, 31) for digit in "0123456789abcdef"),  # Twilio
)

# What a variable that holds a secret is called; (word, anchor, kind). Case does not matter.
_WORDS = (
    (b"password", 0, ASSIGNED_PASSWORD),
    (b"passwd", 0, ASSIGNED_PASSWORD),
    (b"passphrase", 0, ASSIGNED_PASSWORD),
    (b"pass", 0, ASSIGNED_PASSWORD),
    (b"pwd", 0, ASSIGNED_PASSWORD),
    (b"secret", 1, ASSIGNED_KEY),
    (b"token", 0, ASSIGNED_KEY),
    (b"key", 0, ASSIGNED_KEY),
    (b"credential", 2, ASSIGNED_KEY),
    (b"bearer ", 0, BEARER),
)
_PEM = b"PRIVATE KEY"

AT, DOT, COLON = 1, 2, 3  # values of TRIGRAMS that are no literal: of e-mail, IPv4, IPv6
FIRST_LITERAL = 4
ANY_CASE = 1 << 8

_ALPHABET = b"abcdefghijklmnopqrstuvwxyz0123456789@._-:= "
WORD, LOCAL, DOMAIN, TOKEN, HEX, DIGIT, LETTER, BLANK = (1 << i for i in range(8))


def _classes() -> np.ndarray:
    """uint8[256]: the sixth of a trigram that a byte is; letters whatever their case, 0 for the rest."""
    table = np.zeros(256, np.uint8)
    for place, byte in enumerate(_ALPHABET, 1):
        table[byte] = place
        table[ord(chr(byte).upper())] = place
    return table


def _flags() -> np.ndarray:
    table = np.zeros(256, np.uint8)
    letters, digits = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ", b"0123456789"
    for members, flag in (
        (letters + digits + b"_", WORD),
        (letters + digits + b"._%+-", LOCAL),
        (letters + digits + b".-", DOMAIN),
        (letters + digits + b"_-./+=", TOKEN),
        (digits + b"abcdefABCDEF", HEX),
        (digits, DIGIT),
        (letters, LETTER),
        (b" \t", BLANK),
    ):
        table[list(members)] |= flag
    return table


CLASSES = _classes()
FLAGS = _flags()
"""uint8[256]: what a byte may be part of, as a sum of WORD ... BLANK."""


def _code(a: int, b: int, c: int) -> int:
    return int(CLASSES[a]) << 12 | int(CLASSES[b]) << 6 | int(CLASSES[c])


def _tables() -> tuple[np.ndarray, ...]:
    """TRIGRAMS, GROUPS, LITERALS and LITERAL_BYTES."""
    table = np.zeros(1 << 18, np.uint8)
    for a in range(64):
        for b in range(64):
            table[a << 12 | b << 6 | int(CLASSES[ord("@")])] = AT
    digits, hexadecimal = b"0123456789", b"0123456789abcdef"
    for a in digits:
        for b in digits:
            table[_code(a, ord("."), b)] = DOT
    for a in hexadecimal:
        for b in hexadecimal:
            table[_code(a, b, ord(":"))] = COLON
    literals = [(token.literal, token.anchor, FIRST_TOKEN + i, token.run) for i, token in enumerate(TOKENS)]
    literals += [(word, anchor, kind | ANY_CASE, 0) for word, anchor, kind in _WORDS]
    literals.append((_PEM, 6, PEM, 0))
    by_code: dict[int, list[tuple[bytes, int, int, int]]] = {}
    for entry in literals:
        a, b, c = entry[0][entry[1] : entry[1] + 3]
        by_code.setdefault(_code(a, b, c), []).append(entry)
    groups, rows, data = [0], [], b""
    for group, (code, members) in enumerate(by_code.items()):
        assert table[code] == 0, members
        table[code] = FIRST_LITERAL + group
        for literal, anchor, kind, run in members:
            rows.append((len(data), len(data) + len(literal), anchor, kind, run))
            data += literal
        groups.append(len(rows))
    return table, np.array(groups), np.array(rows), np.frombuffer(data, np.uint8)


TRIGRAMS, GROUPS, LITERALS, LITERAL_BYTES = _tables()
"""uint8[1 << 18], what a trigram can be part of: 0 nothing, AT, DOT, COLON, else FIRST_LITERAL + g for the literals
`LITERALS[GROUPS[g]:GROUPS[g + 1]]`. A literal is (begin and end in LITERAL_BYTES, anchor, kind, run)."""
