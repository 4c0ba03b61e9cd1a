"""What stands for a run's model: the last phase's files, and a card whose results can be renewed."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM

from pipelines.schema import Shard
from pipelines.sources import SourceConfig
from snowcoder.loss_accounts import accounts_of
from snowcoder.model_card import link_model, refresh_evaluation
from train.config import ModelConfig
from train.model import build_model

MODEL = ModelConfig(layers=1, hidden=32, ffn=48, heads=2, vocab=40, context=16)


def test_the_runs_model_is_the_last_phases(tmp_path: Path) -> None:
    models = {phase: build_model(MODEL, seed) for seed, phase in enumerate(("general", "continued"))}
    for phase, model in models.items():
        model.save_pretrained(tmp_path / "model" / phase)
    (tmp_path / "model/general/only-here.txt").write_text("x")
    tokens = torch.arange(10)[None]
    for phase in ("general", "continued", "general"):
        link_model(tmp_path, phase)
        loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "model")
        with torch.no_grad():
            assert loaded(tokens).logits.equal(models[phase].eval()(tokens).logits)
        assert (tmp_path / "model/only-here.txt").exists() == (phase == "general")
        assert not list((tmp_path / "model").glob(".*"))


def test_results_in_a_card_are_renewed(tmp_path: Path) -> None:
    card = tmp_path / "model/general/README.md"
    card.parent.mkdir(parents=True)
    card.write_text(
        "# a\n\n## Evaluation\n\nNot evaluated yet: `snowcoder evaluate`.\n\n## Provenance\n\nhashes\n"
    )
    refresh_evaluation(tmp_path, "general")
    assert "Not evaluated yet" in card.read_text()
    (tmp_path / "eval").mkdir()
    result = {"humaneval": {"pass@1": 0.25, "passed": 41, "total": 164}, "bits_per_byte": {"humaneval": 1.5}}
    (tmp_path / "eval/general.json").write_text(json.dumps(result))
    record = tmp_path / "train/general/validation.jsonl"
    record.parent.mkdir(parents=True)
    lines = [{"position": p, "tokens": p * 10, "seconds": 1.0, "held_out": 3.0 - p} for p in (1, 2)]
    record.write_text("".join(json.dumps(line) + "\n" for line in lines))
    for _ in range(2):
        refresh_evaluation(tmp_path, "general")
        assert card.read_text() == (
            "# a\n\n## Evaluation\n\n- humaneval: 41/164, pass@1 0.250\n"
            "- humaneval, reference solutions: 1.5000 bits per byte\n"
            "- held_out: 1.0000 bits per byte after 20 tokens, 2.0000 after 10\n\n## Provenance\n\nhashes\n"
        )
    refresh_evaluation(tmp_path, "absent")


def test_sources_are_the_configured_paths() -> None:
    cfg = SourceConfig(kind="parquet", paths=["s3://bucket/stack/", "/data/crawl"])
    uris = ["s3://bucket/stack/a.parquet", "/data/crawl/b.parquet", "/elsewhere/c.parquet"]
    shards = [Shard(shard=i, reader="parquet", uri=uri) for i, uri in enumerate(uris)]
    shards.append(Shard(shard=3, reader="answers", uri="chunk"))
    accounts = accounts_of(shards, cfg)
    assert accounts.sources == ("stack", "crawl", "parquet", "generated")
    assert [accounts.source_of_shard.get(i, 0) for i in range(4)] == [0, 1, 2, 3]
    assert "Python" in accounts.languages
