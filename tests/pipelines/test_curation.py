"""One pass over a shard's text: every stage's verdicts, what they amend, and what another configuration reuses."""

from __future__ import annotations

import textwrap
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from pipelines.curation import Curation, claim, judge, kept_documents
from pipelines.dedup.config import DedupConfig
from pipelines.dedup.index import Index, LocalPartitions
from pipelines.ledger import Ledger
from pipelines.manifest import build_manifest
from pipelines.schema import Shard
from pipelines.sources import SourceConfig
from pipelines.stages import chain
from pipelines.stages.benchmark_index import BenchmarkIndex
from pipelines.stages.chain import StagesConfig
from pipelines.stages.licence import LicenceConfig
from pipelines.stages.rules_config import RulesConfig
from pipelines.stages.secrets import SecretsConfig
from pipelines.stages.stored_index import store
from pipelines.stream import in_order

MIT = "# Copyright 2020 The Authors\n# SPDX-License-Identifier: MIT\n\n"
BODY = '''def area(width, height):
    """The area of a rectangle."""
    return width * height


def describe(shape):
    for name, value in sorted(shape.items()):
        print(name, value, area(value, value))
'''
FILES = {
    "plain.py": MIT + BODY,
    "mail.py": MIT + BODY.replace("rectangle", "square") + 'AUTHOR = "Jane Roe <jane.roe@corporation.net>"\n',
    "gpl.py": "# SPDX-License-Identifier: GPL-3.0-only\n" + BODY.replace("area", "surface"),
    "long.py": BODY.replace("area", "volume") + "NAMES = [" + "alpha, " * 60 + "]\n",
    "wrong.js": Path(textwrap.__file__).read_text(),  # Python under another name
    "broken.py": "def f(:\n  ((((\n" * 30,
}


def rules(**limits: object) -> RulesConfig:
    base = RulesConfig()
    return base.model_copy(update={"limits": base.limits.model_copy(update=limits)})


STAGES = StagesConfig(
    rules=rules(max_line=200),
    licence=LicenceConfig(policy="permissive_or_none", strip_headers=True),
    secrets=SecretsConfig(),
)


@pytest.fixture
def made(tmp_path: Path) -> tuple[Curation, Shard]:
    repository = tmp_path / "source" / "repo"
    repository.mkdir(parents=True)
    for name, text in FILES.items():
        (repository / name).write_text(text)
    source = SourceConfig(kind="directory", paths=(str(tmp_path / "source"),))
    (shard,) = in_order(build_manifest(source, seed=0))
    curation = Curation(
        source=source,
        stages=STAGES,
        dedup=DedupConfig(partitions=1, expected_documents=100),
        benchmarks=store(BenchmarkIndex.build([]), tmp_path / "benchmarks"),
        ledger_root=str(tmp_path / "ledger"),
    )
    return curation, shard


def decide(curation: Curation, shard: Shard) -> None:
    Ledger(curation.ledger_root).open(curation.chain())
    rows, keys = judge(shard, curation)
    claim(shard, rows, keys, Index(LocalPartitions(curation.dedup)), curation)


def reasons(curation: Curation, shard: Shard) -> dict[str, str]:
    """First reason by path."""
    paths = [path for table in _read(curation, shard) for path in table["path"].to_pylist()]
    found = {}
    for stage in curation.chain():
        table = curation.ledger.read(stage, shard.shard)
        for row, reason in zip(table["row"].to_pylist(), table["reason"].to_pylist(), strict=True):
            if reason is not None:
                found[paths[row]] = f"{stage.name}: {reason}"
    return found


def _read(curation: Curation, shard: Shard) -> list[pa.Table]:
    from pipelines.sources import read_shard

    return list(read_shard(shard, curation.source))


def kept(curation: Curation, shard: Shard) -> dict[str, tuple[str, str]]:
    """path -> (language, text) as the stages leave them."""
    tables = kept_documents(shard, curation)
    return {
        path: (lang, text)
        for table in tables
        for path, lang, text in zip(*(table[c].to_pylist() for c in ("path", "lang", "text")), strict=True)
    }


def test_every_stage_judges_and_amends(made):
    curation, shard = made
    decide(curation, shard)
    assert reasons(curation, shard) == {
        "gpl.py": "licence: licence",
        "long.py": "rules: long_line",
        "broken.py": "syntax: syntax",
    }
    found = kept(curation, shard)
    assert found["plain.py"] == ("Python", BODY)  # the header is off
    assert "jane" not in found["mail.py"][1]
    assert "<EMAIL>" in found["mail.py"][1]
    assert found["wrong.js"][0] == "Python"  # told by its content
    assert judge(shard, curation) is None
    assert kept(curation, shard) == found


def test_a_looser_threshold_judges_only_what_it_lets_in(made, monkeypatch):
    curation, shard = made
    decide(curation, shard)
    seen: dict[str, int] = {}

    def counting(name: str):
        whole = getattr(chain, name)

        def judged(docs, *arguments):
            seen[name] = seen.get(name, 0) + docs.num_rows
            return whole(docs, *arguments)

        monkeypatch.setattr(chain, name, judged)

    for name in ("judge_language", "judge_rules", "judge_licence", "judge_syntax", "judge_secrets"):
        counting(name)
    looser = replace(curation, stages=STAGES.model_copy(update={"rules": rules(max_line=2000)}))
    decide(looser, shard)
    # The language stage comes first and replays; the rules are judged from their measurements.
    assert seen == {"judge_licence": 1, "judge_syntax": 1, "judge_secrets": 1}
    assert "long.py" not in reasons(looser, shard)
    fresh = replace(looser, ledger_root=curation.ledger_root + "-fresh")
    decide(fresh, shard)
    for stage in looser.chain():
        ours, theirs = (repr(each.ledger.read(stage, shard.shard).to_pylist()) for each in (looser, fresh))
        assert ours == theirs
    assert kept(looser, shard) == kept(fresh, shard)


def test_verdicts_on_amended_text_are_not_reused_when_the_amending_changes(made):
    curation, shard = made
    decide(curation, shard)
    unstripped = STAGES.model_copy(update={"licence": LicenceConfig(policy="permissive_or_none")})
    other = replace(curation, stages=unstripped)
    Ledger(other.ledger_root).open(other.chain())
    assert other.ledger.reusable(other.stage("secrets"), shard.shard, shard.identity()) is None
    assert other.ledger.read(other.stage("rules"), shard.shard) is not None
    decide(other, shard)
    assert kept(other, shard)["plain.py"][1] == MIT + BODY


def test_a_stage_that_is_off_is_not_in_the_chain(made):
    curation, _ = made
    off = StagesConfig(language=None, licence=None, syntax=None, secrets=None)
    names = [stage.name for stage in replace(curation, stages=off).chain()]
    assert names == ["rules", "decontaminate", "claim"]
