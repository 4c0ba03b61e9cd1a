"""The licence that a package states about itself: an SPDX expression where there is one, else its own
words."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from email.message import Message
from email.parser import HeaderParser

MAX_METADATA_BYTES = 1 << 20


def of_core_metadata(metadata: Message) -> str:
    """Python core metadata (METADATA, PKG-INFO): License-Expression, else a short License, else its
    classifiers."""
    if expression := metadata.get("License-Expression"):
        return str(expression).strip()
    words = str(metadata.get("License") or "").strip()
    # The License field often holds the full text, which names nothing.
    if words and "\n" not in words and len(words) <= 100 and words.upper() != "UNKNOWN":
        return words
    classifiers = [str(value) for value in metadata.get_all("Classifier") or ()]
    return ", ".join(value.rpartition(" :: ")[2] for value in classifiers if value.startswith("License :: "))


def _core_metadata(content: bytes) -> str:
    return of_core_metadata(HeaderParser().parsestr(content.decode("utf-8", "replace")))


def _package_json(content: bytes) -> str:
    stated = json.loads(content).get("license", "")
    return str(stated.get("type", "") if isinstance(stated, dict) else stated)


def _cargo_toml(content: bytes) -> str:
    return str(tomllib.loads(content.decode()).get("package", {}).get("license", ""))


_READERS: dict[str, Callable[[bytes], str]] = {
    "METADATA": _core_metadata,
    "PKG-INFO": _core_metadata,
    "package.json": _package_json,
    "Cargo.toml": _cargo_toml,
}


def states_license(member: str) -> bool:
    """Whether an archive's member is the package's own metadata: one folder deep, under a name known for
    it."""
    folder, _, name = member.rpartition("/")
    return name in _READERS and bool(folder) and "/" not in folder


def of_package(member: str, content: bytes) -> str:
    """The licence stated in such a member, "" when it cannot be read: a malformed file states nothing."""
    try:
        return _READERS[member.rpartition("/")[2]](content).strip()
    except (ValueError, AttributeError):
        return ""
