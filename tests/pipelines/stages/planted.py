"""Secrets of every type planted into code of many languages, among look-alikes: the truth that the stage is held to.

    python -m tests.pipelines.stages.planted

prints precision and recall per type and per language as the tables of docs/licences_and_secrets.md. The truth is
independent of the detectors: values are drawn at random in the form that their provider documents.
"""

from __future__ import annotations

import base64
import json
import random
import string
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from pipelines.stages.secrets import SecretsConfig, judge_secrets
from tests.pipelines.stages.documents import documents

LOWER, UPPER, DIGITS = string.ascii_lowercase, string.ascii_uppercase, string.digits
ALNUM = LOWER + UPPER + DIGITS
HEX = "0123456789abcdef"

# How a value is given to a name; {snake}, {camel}, {upper} are the name, {v} the value.
ASSIGNMENTS = {
    "Python": (
        '{snake} = "{v}"',
        "{upper} = '{v}'",
        'connect({snake}="{v}")',
        'config["{snake}"] = "{v}"',
        '{snake}: str = "{v}"',
    ),
    "JavaScript": (
        'const {camel} = "{v}";',
        "config.{camel} = '{v}';",
        "init({{ {camel}: '{v}' }});",
        "process.env.{upper} = `{v}`;",
    ),
    "TypeScript": ('const {camel}: string = "{v}";', "export const {upper} = '{v}';"),
    "Java": ('    private static final String {upper} = "{v}";', '    static String {camel} = "{v}";'),
    "Go": ('const {camel} = "{v}"', 'var {camel} = `{v}`', 'var {camel} string = "{v}"'),
    "YAML": ("{snake}: {v}", '{snake}: "{v}"', "{camel}: '{v}'"),
    "JSON": ('"{snake}": "{v}",', '"{camel}": "{v}",'),
    "Shell": ('export {upper}="{v}"', "{upper}='{v}'", "{upper}={v}"),
    "C": ('static const char *{snake} = "{v}";', '#define {upper} "{v}"', 'char {snake}_buf[128] = "{v}";'),
    "C++": ('const std::string {snake}("{v}");', 'constexpr auto {camel} = "{v}";'),
    "PHP": ("${snake} = '{v}';", "$config['{snake}'] = '{v}';", "define('{upper}', '{v}');"),
    "Ruby": ("{snake} = '{v}'", "config.{snake} = \"{v}\"", "{{ {snake}: '{v}' }}"),
    "C#": ('    const string {camel} = "{v}";', '    static string {camel} = @"{v}";'),
    "Rust": ('const {upper}: &str = "{v}";', 'static {upper}: &str = "{v}";'),
}  # fmt: skip
COMMENTS = {
    "Python": "# {}",
    "YAML": "# {}",
    "Shell": "# {}",
    "Ruby": "# {}",
    "PHP": "// {}",
    "JSON": '"comment": "{}",',
}
FRAMES = {
    "Java": ("class A {\n", "}\n"),
    "C#": ("class A {\n", "}\n"),
    "JSON": ("{\n", '"last": 1\n}\n'),
    "Go": ("package main\n", ""),
    "PHP": ("<?php\n", ""),
}

# What code has that looks like a secret and is none: (name, value), in any language.
LOOK_ALIKES = (
    ("checksum_sha256", "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"),
    ("commit_key", "c3499c2729730a7f807efb8676a92dcb6f8a3f8f"),
    ("md5_token", "5d41402abc4b2a76b9719d911017c592"),
    ("request_id", "123e4567-e89b-12d3-a456-426614174000"),
    ("session_token", "123e4567-e89b-12d3-a456-426614174000"),
    ("api_key", "YOUR_API_KEY_GOES_HERE_1"),
    ("api_key", "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"),
    ("api_key", "${API_KEY_FROM_VAULT_2}"),
    ("secret_key", "<insert-secret-key-here-1>"),
    ("access_token", "oauth2.accessTokenProviderName"),
    ("token_type", "Bearer2_identifierTokenKind"),
    ("aws_key", "AKIAIOSFODNN7EXAMPLE"),
    ("password", "your_password_here1"),
    ("password", "********1a"),
    ("password", "changeme123"),
    ("password", "{{ vault_db_password1 }}"),
    ("password_field", "id_password1"),
    ("password_hash", "$2b$12$KIXQ0Q9e5Z1nqjW7"),
    ("password_regex", "[A-Za-z0-9]{8,64}"),
    ("password_file", "/run/secrets/db_Pass1"),
    ("password_label", "Enter your password:"),
    ("token_url", "https://auth.service.io/oauth2/token"),
    ("cache_key", "user:profile:v2:0a1b2c3d4e5f60718293"),
    ("primary_key", "customer_account_identifier_v2"),
    ("public_key", "3f2a9c4e8b1d7f6055aa90ce12bd34ef"),
    ("version", "1.2.3.4"),
    ("assembly_version", "4.12.33.17"),
    ("oid", "1.3.6.1.4.1.311.2"),
    ("loopback", "127.0.0.1"),
    ("bind_host", "0.0.0.0"),
    ("private_host", "192.168.1.17"),
    ("private_range", "172.20.3.4"),
    ("dns_server", "8.8.8.8"),
    ("documentation_host", "203.0.113.54"),
    ("network", "13.52.0.0/16"),
    ("documentation_v6", "2001:db8::8a2e:370:7334"),
    ("contact", "user@example.com"),
    ("contact", "jane.doe@mail.example.org"),
    ("remote", "git@github.com:owner/project.git"),
    ("package", "lodash@4.17.21"),
    ("image", "icons/logo@2x.png"),
    ("handle", "@someone"),
    ("url", "http://user:password@localhost:8080/"),
    ("time", "2023:10:05:11"),
    ("color_key", "a1b2c3"),
    ("alphabet_key", "abcdefghijklmnopqrstuvwxyz0123456789"),
    ("icon", "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk"),
    ("message", "The secret of token management is patience 101"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Planted:
    """A document and the (type, kind, value) of each secret in it."""

    lang: str
    text: str
    secrets: tuple[tuple[str, str, str], ...]


def _some(rng: random.Random, alphabet: str, length: int) -> str:
    return "".join(rng.choice(alphabet) for _ in range(length))


def _jwt(rng: random.Random) -> str:
    def part(value: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    signature = base64.urlsafe_b64encode(rng.randbytes(32)).rstrip(b"=").decode()
    return f"{part({'alg': 'HS256', 'typ': 'JWT'})}.{part({'sub': rng.randrange(10**9), 'admin': True})}.{signature}"


def _password(rng: random.Random) -> str:
    letters = _some(rng, string.ascii_letters, rng.randint(5, 9))
    return (
        letters + _some(rng, string.digits, rng.randint(1, 3)) + rng.choice("!#%+=_") + _some(rng, ALNUM, 2)
    )


def _email(rng: random.Random) -> str:
    user = f"{_some(rng, LOWER, 6)}.{_some(rng, LOWER, 5)}{rng.randrange(99)}"
    return f"{user}@{_some(rng, LOWER, 7)}.{rng.choice(('com', 'org', 'de', 'ac.uk', 'io'))}"


def _ipv4(rng: random.Random) -> str:
    """A global address that is no network and no resolver: from blocks of hosting companies."""
    first = rng.choice((23, 34, 52, 93, 104, 138, 144, 188, 195))
    return f"{first}.{rng.randrange(20, 250)}.{rng.randrange(256)}.{rng.randrange(1, 255)}"


def _ipv6(rng: random.Random) -> str:
    groups = [f"{rng.randrange(16, 65536):x}" for _ in range(3)]
    return f"2a01:4f8:{groups[0]}:{groups[1]}::{groups[2]}"


_KEY_TYPES = {
    "AWS access key": (
        ("aws_access_key_id", "access_key"),
        lambda r: "AKIA" + _some(r, UPPER + "234567", 16),
    ),
    "AWS secret": (("aws_secret_access_key", "secret_key"), lambda r: _some(r, ALNUM + "+/", 40)),
    "GitHub token": (("github_token", "auth"), lambda r: "ghp_" + _some(r, ALNUM, 36)),
    "GitLab token": (("gitlab_token", "deploy"), lambda r: "glpat-" + _some(r, ALNUM + "-", 19) + "a"),
    "Slack token": (
        ("slack_token", "bot"),
        lambda r: f"xoxb-{_some(r, DIGITS, 12)}-{_some(r, DIGITS, 12)}-{_some(r, LOWER + DIGITS, 24)}",
    ),
    "Slack webhook": (
        ("webhook", "hook_url"),
        lambda r: (
            f"https://hooks.slack.com/services/T{_some(r, UPPER, 9)}/B{_some(r, UPPER, 9)}/{_some(r, ALNUM, 24)}"
        ),
    ),
    "Stripe key": (("stripe_key", "billing"), lambda r: "sk_live_" + _some(r, ALNUM, 24)),
    "SendGrid key": (("sendgrid", "mail_key"), lambda r: f"SG.{_some(r, ALNUM, 22)}.{_some(r, ALNUM, 43)}"),
    "Google key": (("google_api_key", "maps"), lambda r: "AIza" + _some(r, ALNUM + "_-", 34) + "Q"),
    "npm token": (("npm_token", "registry"), lambda r: "npm_" + _some(r, ALNUM, 36)),
    "OpenAI key": (("openai_key", "llm"), lambda r: f"sk-{_some(r, ALNUM, 20)}T3BlbkFJ{_some(r, ALNUM, 20)}"),
    "Twilio key": (("twilio", "sms_key"), lambda r: "SK" + _some(r, HEX, 32)),
    "Mailchimp key": (("mailchimp", "list_key"), lambda r: _some(r, HEX, 32) + "-us12"),
    "JSON Web Token": (("jwt", "session"), _jwt),
    "hexadecimal API key": (("api_key", "service_token", "client_secret"), lambda r: _some(r, HEX, 32)),
    "random API key": (
        ("api_key", "auth_token", "encryption_key"),
        lambda r: _some(r, ALNUM, r.randint(24, 44)),
    ),
    "base64 secret": (
        ("app_secret", "secret", "signing_key"),
        lambda r: base64.b64encode(r.randbytes(32)).decode(),
    ),
}
# type -> (kind, names that such values have, value)
TYPES: dict[str, tuple[str, tuple[str, ...], Callable[[random.Random], str]]] = {
    **{name: ("key", names, draw) for name, (names, draw) in _KEY_TYPES.items()},
    "password": ("password", ("password", "db_password", "smtp_passwd", "admin_pwd", "user_pass"), _password),
    "password in a URL": ("password", ("database_url", "broker"), _password),
    "e-mail": ("email", ("contact", "author", "maintainer_email"), _email),
    "IPv4 address": ("ip", ("host", "server_address", "peer"), _ipv4),
    "IPv6 address": ("ip", ("host", "listen"), _ipv6),
    "private key": ("private_key", ("tls_key", "ssh"), lambda r: base64.b64encode(r.randbytes(600)).decode()),
}


def plant(seed: int, per_type: int) -> list[Planted]:
    """Documents of all languages: each has a few secrets and a few look-alikes, `per_type` of each type a language."""
    rng = random.Random(seed)
    planted = []
    for lang, assignments in ASSIGNMENTS.items():
        todo = [name for name in TYPES for _ in range(per_type)]
        rng.shuffle(todo)
        for first in range(0, len(todo), 4):
            lines, secrets = [], []
            for name in todo[first : first + 4]:
                kind, names, draw = TYPES[name]
                secret = draw(rng)
                value = {
                    "password in a URL": f"postgres://svc:{secret}@db.intern.net:5432/app",
                    "private key": f"-----BEGIN RSA PRIVATE KEY-----\\n{secret}\\n-----END RSA PRIVATE KEY-----",
                }.get(name, secret)
                lines.append(_assign(rng, lang, assignments, rng.choice(names), value))
                secrets.append((name, kind, secret))
            for name, value in rng.sample(LOOK_ALIKES, 6):
                lines.append(_assign(rng, lang, assignments, name, value))
            rng.shuffle(lines)
            lines.insert(
                0,
                COMMENTS.get(lang, "// {}").format(
                    "Copyright 2021 the authors, written for release 4.2.1.18"
                ),
            )
            before, after = FRAMES.get(lang, ("", ""))
            planted.append(Planted(lang, before + "\n".join(lines) + "\n" + after, tuple(secrets)))
    return planted


def _assign(rng: random.Random, lang: str, assignments: tuple[str, ...], name: str, value: str) -> str:
    name = f"{rng.choice(('', 'old_', 'prod_'))}{name}"
    camel = name.split("_")[0] + "".join(part.title() for part in name.split("_")[1:])
    template = rng.choice(assignments)
    # Bare words: what would need quotes gets them.
    needs_quotes = any(c in value for c in " #{}[]*&!|>%@`\"'\\$<;:,()")
    if template in ("{snake}: {v}", "{upper}={v}") and needs_quotes:
        template = '{snake}: "{v}"' if lang == "YAML" else "{upper}='{v}'"
    return template.format(snake=name, camel=camel, upper=name.upper(), v=value)


@dataclass(slots=True)
class Score:
    planted: Counter
    found: Counter
    right: Counter  # spans found that are, or lie around, a secret of that kind
    spans: Counter


def score(planted: list[Planted], cfg: SecretsConfig | None = None) -> tuple[Score, Score, list[str]]:
    """(by type, by language, what went wrong). A secret is found when an edit of any kind covers all of it."""
    from pipelines.stages.secret_words import KIND_OF

    docs = documents([one.text for one in planted], lang=[one.lang for one in planted])
    edits = judge_secrets(docs, cfg or SecretsConfig())["edits"].to_pylist()
    by_type, by_lang = (Score(Counter(), Counter(), Counter(), Counter()) for _ in range(2))
    wrong = []
    for one, spans in zip(planted, edits, strict=True):
        raw = one.text.encode()
        values = [
            (name, kind, raw.index(secret.encode()), len(secret.encode()))
            for name, kind, secret in one.secrets
        ]
        for name, _, begin, length in values:
            hit = any(span["begin"] <= begin and begin + length <= span["end"] for span in spans or ())
            by_type.planted[name] += 1
            by_type.found[name] += hit
            by_lang.planted[one.lang] += 1
            by_lang.found[one.lang] += hit
            if not hit:
                wrong.append(f"missed {name} in {one.lang}: {_line(raw, begin)}")
        for span in spans or ():
            kind = KIND_OF[span["kind"]]
            right = any(
                span["begin"] < begin + length and begin < span["end"] for _, _, begin, length in values
            )
            for tally, key in ((by_type, kind), (by_lang, one.lang)):
                tally.spans[key] += 1
                tally.right[key] += right
            if not right:
                wrong.append(f"false {kind} in {one.lang}: {_line(raw, span['begin'])}")
    return by_type, by_lang, wrong


def _line(raw: bytes, at: int) -> str:
    return raw[raw.rfind(b"\n", 0, at) + 1 :].partition(b"\n")[0].decode()[:200]


def main() -> None:
    planted = plant(seed=1, per_type=40)
    by_type, by_lang, wrong = score(planted)
    print("| type | planted | recall |\n|---|---|---|")
    for name in TYPES:
        print(f"| {name} | {by_type.planted[name]} | {by_type.found[name] / by_type.planted[name]:.3f} |")
    print("\n| kind | spans found | precision |\n|---|---|---|")
    for kind, spans in by_type.spans.items():
        print(f"| {kind} | {spans} | {by_type.right[kind] / spans:.3f} |")
    print("\n| language | planted | recall | precision |\n|---|---|---|---|")
    for lang, count in by_lang.planted.items():
        recall, precision = by_lang.found[lang] / count, by_lang.right[lang] / by_lang.spans[lang]
        print(f"| {lang} | {count} | {recall:.3f} | {precision:.3f} |")
    print()
    for line in wrong[:: max(1, len(wrong) // 60)]:
        print(line)


if __name__ == "__main__":
    main()
