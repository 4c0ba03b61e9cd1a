"""Tokens whose form their provider fixed: by the plugins of detect-secrets, by expressions where it has none."""

from __future__ import annotations

import re
from functools import cache
from typing import Protocol

from pipelines.kernels.secret_shapes import TOKENS

_BEFORE, _AFTER, _AFTER_JWT = 80, 200, 1200
# The line is bytes as characters: beyond ASCII there are no words, only parts of characters.
_JWT = re.compile(r"eyJ[\w=-]+\.[\w=-]+", re.ASCII)
_TOKEN_END = re.compile(r"[\w.+/=-]*", re.ASCII)

_EXPRESSIONS = {
    b"github_pat_": r"github_pat_\w{60,90}",
    b"npm_": r"\bnpm_[A-Za-z0-9]{36}\b",
    b"AIza": r"AIza[\w-]{35}(?![\w-])",
    b"ya29.": r"ya29\.[\w-]{30,}",
    b"sq0atp-": r"sq0atp-[\w-]{22}",
    b"hf_": r"\bhf_[A-Za-z0-9]{34}\b",
    b"dop_v1_": r"dop_v1_[0-9a-f]{64}",
    b"shpat_": r"shpat_[0-9a-fA-F]{32}",
    b"AGE-SECRET-KEY-1": r"AGE-SECRET-KEY-1[QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L]{58}",
    b"sk-proj-": r"sk-proj-[\w-]{40,}",
    b"sk-ant-": r"sk-ant-[\w-]{40,}",
    # The plugin's expression takes quadratic time on "sk-sk-sk-...".
    b"T3BlbkFJ": r"sk-[\w-]{0,40}[A-Za-z0-9]{20}T3BlbkFJ[A-Za-z0-9]{20}",
}

_PLUGINS = {
    ("aws", "AWSKeyDetector"): (b"AKIA", b"ASIA", b"ABIA", b"ACCA"),
    ("github_token", "GitHubTokenDetector"): (b"ghp_", b"gho_", b"ghu_", b"ghs_", b"ghr_"),
    ("gitlab_token", "GitLabTokenDetector"): (
        b"glpat-", b"gldt-", b"glft-", b"glrt-", b"glsoat-", b"glptt-", b"GR1348941",
    ),
    ("slack", "SlackDetector"): (
        b"xoxa-", b"xoxb-", b"xoxp-", b"xoxo-", b"xoxs-", b"xoxr-", b"hooks.slack.com/services/",
    ),
    ("stripe", "StripeDetector"): (b"sk_live_", b"rk_live_"),
    ("sendgrid", "SendGridDetector"): (b"SG.",),
    ("pypi_token", "PypiTokenDetector"): (b"pypi-AgE",),
    ("jwt", "JwtTokenDetector"): (b"eyJ",),
    ("square_oauth", "SquareOAuthDetector"): (b"sq0csp-",),
    ("mailchimp", "MailchimpDetector"): tuple(f"-us{digit}".encode() for digit in range(1, 10)),
    ("azure_storage_key", "AzureStorageKeyDetector"): (b"AccountKey=",),
    ("artifactory", "ArtifactoryDetector"): (b"AKC",),
    ("twilio", "TwilioKeyDetector"): tuple(b"SK" + digit.encode() for digit in "0123456789abcdef"),
}  # fmt: skip


class _Detector(Protocol):
    def analyze_string(self, string: str) -> object: ...


def token_span(token: int, line: str, at: int) -> tuple[int, int] | None:
    """Where in `line` the token is whose literal (TOKENS[token]) stands at `at`; None when it is none.

    The name that it is assigned to is not part of it. At most a few hundred characters around are looked at.
    """
    literal = TOKENS[token].literal
    if literal == b"eyJ" and not _JWT.match(line, at):
        return (
            None  # base64 of any JSON starts so; here the plugin would search the rest of the line for a dot
        )
    first = max(0, at - _BEFORE)
    piece, place = line[first : at + (_AFTER_JWT if literal == b"eyJ" else _AFTER)], at - first
    for secret in _found(literal, piece):
        begin = piece.find(secret, max(0, place - len(secret)))
        if not (0 <= begin <= place < begin + len(secret)):
            continue
        # What goes on to the left is a longer run, of which this is an accident.
        if begin and re.match(r"[A-Za-z0-9]{2}", piece[begin - 1 : begin + 1]):
            continue
        end = begin + len(secret)
        if literal.endswith(b"="):
            begin = place + len(literal)
        elif literal == b"eyJ":
            end = _TOKEN_END.match(piece, begin).end()  # type: ignore[union-attr]  # the match lacks the signature
        return first + begin, first + end
    return None


def _found(literal: bytes, piece: str) -> list[str]:
    if literal in _EXPRESSIONS:
        return [match[0] for match in _expression(literal).finditer(piece)]
    detector = _detector(literal)
    return [
        str(secret).strip("\"' \t:=") if literal == b"AKC" else str(secret)
        for secret in _strings(detector, piece)
    ]


def _strings(detector: _Detector, piece: str) -> list[str]:
    from detect_secrets.plugins.github_token import GitHubTokenDetector
    from detect_secrets.plugins.gitlab_token import GitLabTokenDetector

    if isinstance(detector, GitHubTokenDetector | GitLabTokenDetector):
        # Their groups capture the prefix only, so that analyze_string gives "ghp" instead of the token.
        return [match[0] for regex in detector.denylist for match in regex.finditer(piece)]
    return list(detector.analyze_string(piece))  # type: ignore[call-overload]


@cache
def _expression(literal: bytes) -> re.Pattern[str]:
    return re.compile(_EXPRESSIONS[literal], re.ASCII)


@cache
def _detector(literal: bytes) -> _Detector:
    import importlib

    for (module, name), literals in _PLUGINS.items():
        if literal in literals:
            return getattr(importlib.import_module(f"detect_secrets.plugins.{module}"), name)()
    raise KeyError(literal)
