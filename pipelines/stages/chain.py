"""The stages that read text, in the order in which a document meets them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pyarrow as pa

from pipelines.ledger import Stage
from pipelines.schema import stable_hash
from pipelines.stages import syntax
from pipelines.stages.decontaminate import DECONTAMINATE_VERSION, DecontaminateConfig, judge_contamination
from pipelines.stages.language import LANGUAGE_VERSION, LanguageConfig, amend_language, judge_language
from pipelines.stages.licence import LICENCE_VERSION, LicenceConfig, amend_licence, judge_licence
from pipelines.stages.rules import RULES_VERSION, judge_rules, rejudge
from pipelines.stages.rules_config import RulesConfig
from pipelines.stages.secrets import SECRETS_VERSION, SecretsConfig, amend_secrets, judge_secrets
from pipelines.stages.stored_index import StoredIndex
from pipelines.stages.syntax import SYNTAX_VERSION, SyntaxConfig, judge_syntax
from pipelines.stages.text_stage import Clock, TextStage
from snowcoder.base import Config


class StagesConfig(Config):
    """What the text stages ask of a document. None switches a stage off."""

    language: LanguageConfig | None = LanguageConfig()
    rules: RulesConfig = RulesConfig()
    licence: LicenceConfig | None = LicenceConfig()
    syntax: SyntaxConfig | None = SyntaxConfig()
    decontaminate: DecontaminateConfig = DecontaminateConfig()
    secrets: SecretsConfig | None = SecretsConfig()


class _Chain:
    """Stages one behind the other. What one amends, the verdicts of all later ones depend on."""

    def __init__(self) -> None:
        self.stages: list[TextStage] = []
        self._amended: list[str] = []

    def add(
        self,
        name: str,
        version: int,
        cfg: Config,
        judge: Callable[[pa.Table, Clock], pa.Table],
        *,
        more: str = "",
        facts: str | None = None,
        amend: Callable[[pa.Table, pa.Table], pa.Table] | None = None,
        rejudge: Callable[[pa.Table], pa.Table] | None = None,
    ) -> None:
        """`more`: what decides verdicts beside `cfg`. `facts`: what a recorded row depends on, where less than all."""
        config = cfg.model_dump(mode="json") | ({"more": more} if more else {})
        basis = stable_hash([name, version, config if facts is None else facts, self._amended])
        after = self.stages[-1].stage if self.stages else None
        self.stages.append(TextStage(Stage(name, version, config, after, basis), judge, amend, rejudge))
        if amend:
            self._amended.append(basis)


def text_stages(cfg: StagesConfig, benchmarks: StoredIndex) -> list[TextStage]:
    """The chain: language -> rules -> licence -> syntax -> decontaminate -> secrets.

    The cheap stages come first, so that the dear ones see less. The language decides which limits apply; a
    licence header goes before a document is searched, secrets last, so that evidence is the document's own.
    """
    chain = _Chain()
    if cfg.language:
        judge = partial(_language, cfg=cfg.language)
        chain.add("language", LANGUAGE_VERSION, cfg.language, judge, amend=amend_language)
    chain.add(
        "rules",
        RULES_VERSION,
        cfg.rules,
        partial(_rules, cfg=cfg.rules),
        facts=cfg.rules.text_key,
        rejudge=partial(rejudge, cfg=cfg.rules),
    )
    if cfg.licence:
        # The lists of those who opted out decide too, by what they say.
        lists = cfg.licence.fingerprint()
        amend = partial(amend_licence, cfg=cfg.licence) if cfg.licence.strip_headers else None
        judge = partial(_licence, cfg=cfg.licence)
        chain.add("licence", LICENCE_VERSION, cfg.licence, judge, amend=amend, more=lists)
    if cfg.syntax:
        again = partial(syntax.rejudge, cfg=cfg.syntax)
        judge, facts = partial(_syntax, cfg=cfg.syntax), cfg.syntax.text_key
        chain.add("syntax", SYNTAX_VERSION, cfg.syntax, judge, facts=facts, rejudge=again)
    judge = partial(_decontaminate, cfg=cfg.decontaminate, benchmarks=benchmarks)
    texts = benchmarks.fingerprint
    chain.add("decontaminate", DECONTAMINATE_VERSION, cfg.decontaminate, judge, more=texts)
    if cfg.secrets:
        judge = partial(_secrets, cfg=cfg.secrets)
        chain.add("secrets", SECRETS_VERSION, cfg.secrets, judge, amend=amend_secrets)
    return chain.stages


def _language(docs: pa.Table, clock: Clock, cfg: LanguageConfig) -> pa.Table:
    return judge_language(docs, cfg)


def _rules(docs: pa.Table, clock: Clock, cfg: RulesConfig) -> pa.Table:
    return judge_rules(docs, cfg, clock)


def _licence(docs: pa.Table, clock: Clock, cfg: LicenceConfig) -> pa.Table:
    return judge_licence(docs, cfg)


def _syntax(docs: pa.Table, clock: Clock, cfg: SyntaxConfig) -> pa.Table:
    return judge_syntax(docs, cfg)


def _decontaminate(
    docs: pa.Table, clock: Clock, cfg: DecontaminateConfig, benchmarks: StoredIndex
) -> pa.Table:
    return judge_contamination(docs, benchmarks.open(), cfg)


def _secrets(docs: pa.Table, clock: Clock, cfg: SecretsConfig) -> pa.Table:
    return judge_secrets(docs, cfg)
