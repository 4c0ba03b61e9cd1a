"""The configuration of the file rules: thresholds by language, and how the facts about a file are found."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from pydantic import Field, model_validator

from pipelines.schema import stable_hash
from pipelines.stages import generated
from pipelines.stages.limits import LANGUAGE_LIMITS, Limits
from pipelines.stages.rules_table import ALWAYS, GROUP_OF, THRESHOLDS, Group
from snowcoder.base import Config, UserError


class RulesConfig(Config):
    """The file rules. `limits` only compare numbers kept in the ledger; the other fields need the text."""

    limits: Limits = Limits()
    """Thresholds of every language that `languages` does not mention."""
    languages: dict[str, dict[str, Any]] = Field(default_factory=lambda: dict(LANGUAGE_LIMITS))
    """Language -> the fields of Limits that differ there. In Python the table given replaces the whole default."""
    measure: tuple[Group, ...] = ()
    """Groups of measurements to take of every document, whether or not a threshold needs them: then any of their
    thresholds can be set later without another pass over the text."""
    generated_lines: int = Field(default=5, ge=0)
    """How many first lines are searched for `generated_phrases` (StarCoder2)."""
    generated_characters: int = Field(default=4096, ge=1)
    """How many characters of those lines at most: a header is near the top even where lines are endless."""
    generated_phrases: tuple[str, ...] = generated.PHRASES
    """Phrases that say a program wrote this file; case does not matter."""
    generated_paths: str = generated.PATHS
    """RE2 expression over the path of a generated file; empty switches it off."""
    generated_marks: tuple[generated.Mark, ...] = generated.MARKS
    """What generated files of certain names say in their first lines or their last."""
    xml_characters: int = Field(default=100, ge=0)
    """How many first characters are searched for an XML declaration (The Stack v1)."""
    xml_languages: tuple[str, ...] = ("XML", "XSLT")
    """Languages whose files may start with one."""
    text_names: str = r"(?i)requirement[^/]*$|(^|/)(readme|notes|todo|description|cmakelists)(\.[^/.]*)?$"
    """RE2 expression over the path of a file of language Text that is worth keeping (StarCoder2)."""
    test_paths: str = r"_test\.go$"
    """RE2 expression over the path of a test, for `drop_tests` (OpenCoder)."""
    tokenizer: str = ""
    """Path of a `tokenizer.json`, for `min_characters_per_token`."""

    @model_validator(mode="after")
    def _languages_are_limits(self) -> RulesConfig:
        tables = [self.limits, *(Limits(**overrides) for overrides in self.languages.values())]
        if not self.tokenizer and any(table.min_characters_per_token is not None for table in tables):
            raise ValueError("min_characters_per_token needs `tokenizer`, the path of a tokenizer.json")
        return self

    def limits_of(self, language: str) -> Limits:
        """The thresholds for one language."""
        if language not in self.languages:
            return self.limits
        return Limits(**{**self.limits.model_dump(), **self.languages[language]})

    def groups_of(self, language: str) -> frozenset[Group]:
        """The groups of measurements that the thresholds for one language compare, and those in `measure`."""
        return self._groups.get(language, self._groups[""])

    @cached_property
    def _groups(self) -> dict[str, frozenset[Group]]:
        """By language; "" stands for all that `languages` does not mention."""
        return {
            name: _groups(self.limits_of(name)) | ALWAYS | frozenset(self.measure)
            for name in ("", *self.languages)
        }

    @property
    def text_key(self) -> str:
        """Hash of all that decides what is read from the text: while it stays equal, `rejudge` does.

        That is every field but the thresholds, and which groups of measurements the thresholds need in which
        language: one that is switched on where its group was not measured has nothing to compare.
        """
        usual = self._groups[""]
        groups = {
            name: sorted(groups) for name, groups in self._groups.items() if not name or groups != usual
        }
        fields = self.model_dump(mode="json", exclude={"limits", "languages", "measure"})
        return stable_hash({**fields, "groups": groups, "tokenizer": _fingerprint(self.tokenizer)})


def _groups(limits: Limits) -> frozenset[Group]:
    groups = set()
    for threshold in THRESHOLDS:
        if getattr(limits, threshold.limit) is not None:
            groups.add(GROUP_OF[threshold.measure])
            if threshold.draw and getattr(limits, threshold.draw) < 1:
                groups.add("draw")
    return frozenset(groups)


def _fingerprint(path: str) -> str:
    """Hash of the tokenizer's content: the file may change under its name."""
    if not path:
        return ""
    try:
        with open(path) as file:
            return stable_hash(file.read())
    except OSError as error:
        raise UserError(
            f"rules.tokenizer: {path} cannot be read ({error.strerror}); name a tokenizer.json"
        ) from error
