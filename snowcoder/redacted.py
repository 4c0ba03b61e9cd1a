"""Secrets in a text that is about to be shown: whatever a run does about them, nobody is shown one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa

from pipelines.schema import DOCUMENT
from snowcoder.evidence import Span, replaced

if TYPE_CHECKING:
    from snowcoder.config import CurationConfig

WITHHELD = "(not shown: it cannot be searched for secrets)"
_MOST_CANDIDATES = 1_000_000  # of one document; the stage itself gives up long before


class Secret(NamedTuple):
    """Where a secret is in a text, in characters, of which kind, and what is shown instead."""

    begin: int
    end: int
    kind: str
    placeholder: str


def secrets_in(document: Mapping[str, Any], curation: CurationConfig) -> list[Secret] | None:
    """The secrets in a document's text, sorted, of every kind that the stage knows.

    None when the search fails, in which case the text is not to be shown.
    """
    from pipelines.stages.secret_words import KIND_OF, REPLACEMENTS
    from pipelines.stages.secrets import SecretsConfig, judge_secrets

    text = document.get("text")
    if not text:
        return []
    settings: dict[str, Any] = {"max_candidates": _MOST_CANDIDATES}
    if curation.secrets is not None:
        settings["bare_languages"] = curation.secrets.bare_languages
    verdict = judge_secrets(pa.Table.from_pylist([dict(document)], DOCUMENT), SecretsConfig(**settings))
    if verdict["reason"][0].as_py() is not None:
        return None
    data = text.encode()
    found, at, characters = [], 0, 0
    for edit in verdict["edits"][0].as_py() or []:
        characters += len(data[at : edit["begin"]].decode())
        begin = characters
        characters += len(data[edit["begin"] : edit["end"]].decode())
        found.append(Secret(begin, characters, KIND_OF[edit["kind"]], REPLACEMENTS[edit["kind"]]))
        at = edit["end"]
    return found


def shown(document: Mapping[str, Any], curation: CurationConfig) -> str:
    """The document's text with placeholders for its secrets."""
    return shown_with([], document, curation)[0]


def shown_with(
    spans: Sequence[Span], document: Mapping[str, Any], curation: CurationConfig
) -> tuple[str, list[Span]]:
    """(The text with placeholders for its secrets, `spans` of the text moved along).

    Where the secrets cannot be found, neither is shown.
    """
    secrets = secrets_in(document, curation)
    if secrets is None:
        return WITHHELD, []
    edits = [(secret.begin, secret.end, secret.placeholder) for secret in secrets]
    return replaced(document.get("text") or "", edits, spans)
