"""Heads on real Ray Train workers, and a fine-tuned encoder."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from pipelines.annotator.config import (
    AnnotatorConfig,
    EncoderConfig,
    FinetuneConfig,
    HeadConfig,
    TrainingConfig,
)
from pipelines.annotator.encoder import encoder_fingerprint, resolve_encoder
from pipelines.annotator.fit import Examples
from pipelines.annotator.score import Scorer
from pipelines.annotator.train import ENCODER, train_annotator, with_encoder
from pipelines.annotator.workers import Part, Problem, fit
from snowcoder.base import UserError
from tests.pipelines.annotator.conftest import MINILM


def _part(rows: int, seed: int) -> Part:
    """Three languages, of which "Go" wants the opposite of the others."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, 6)).astype(np.float32)
    own = (np.arange(rows) % 3 - 1).astype(np.int32)
    good = (x[:, 0] + rng.normal(size=rows) > 0) ^ (own == 1)
    own_weight = np.zeros(rows)
    for language in (0, 1):
        own_weight[own == language] = 1 / (own == language).sum()
    return Part(Examples(x, good[:, None] * 1.0, np.full(rows, 1 / rows)), own, own_weight)


@pytest.mark.timeout(240)
def test_two_workers_fit_the_same_heads_as_one_process(ray_session, tmp_path):
    problem = Problem("binary", ("C", "Go"), _part(301, 1), _part(100, 2))
    cfg = HeadConfig(l2=1e-3)
    alone = fit(problem, cfg, TrainingConfig(workers=0), tmp_path / "alone")
    shared = fit(problem, cfg, TrainingConfig(workers=2), tmp_path / "shared")
    assert (shared.steps, shared.best_step) == (alone.steps, alone.best_step)
    np.testing.assert_allclose(shared.head.linear.weight, alone.head.linear.weight, rtol=1e-4, atol=1e-6)
    for name in ("C", "Go"):
        np.testing.assert_allclose(
            shared.head.languages[name].weight, alone.head.languages[name].weight, rtol=1e-3, atol=1e-5
        )
    assert shared.head.languages["C"].weight[0, 0] > 0 > shared.head.languages["Go"].weight[0, 0]


@pytest.fixture
def tiny(tmp_path) -> EncoderConfig:
    """One layer of 32 dimensions without any training, and MiniLM's tokenizer."""
    import torch
    from transformers import BertConfig, BertModel

    torch.manual_seed(0)
    config = BertConfig(hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64)
    BertModel(config, add_pooling_layer=False).save_pretrained(tmp_path / "tiny")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(resolve_encoder(MINILM) / name, tmp_path / "tiny" / name)
    return EncoderConfig(path=str(tmp_path / "tiny"), pooling="mean", window_tokens=32, threads=1)


@pytest.mark.timeout(240)
def test_a_fine_tuned_encoder_is_kept_and_scored_with(ray_session, tmp_path, tiny, code_tables):
    tune = FinetuneConfig(enabled=True, epochs=6, lr=5e-3, head_lr=5e-2, batch_windows=16)
    cfg = AnnotatorConfig(
        name="tuned",
        encoder=tiny,
        held_out=0.25,
        bootstrap=200,
        training=TrainingConfig(workers=2, finetune=tune, validation=0.3, check_every=3, patience=4),
    )
    frozen = cfg.model_copy(update={"training": TrainingConfig(workers=0, validation=0.3)})
    good, other = code_tables
    before = train_annotator(good, other, frozen, tmp_path / "frozen")
    after = train_annotator(good, other, cfg, tmp_path / "tuned")
    assert after.finetuned
    assert not before.finetuned
    scoring = with_encoder(cfg, tmp_path / "tuned")
    assert scoring.encoder.path == str(tmp_path / "tuned" / ENCODER)
    assert encoder_fingerprint(scoring.encoder.path) != encoder_fingerprint(tiny.path)
    assert not (tmp_path / "tuned" / "work").exists()
    texts = good["text"].combine_chunks()
    tuned = Scorer(scoring, tmp_path / "tuned").score(texts).mean()
    plain = Scorer(frozen, tmp_path / "frozen").score(texts).mean()
    assert tuned - Scorer(scoring, tmp_path / "tuned").score(other["text"]).mean() > 0.1
    assert tuned != pytest.approx(plain, abs=1e-3)
    with pytest.raises(UserError, match="workers: 0"):
        train_annotator(
            good,
            other,
            cfg.model_copy(update={"training": TrainingConfig(workers=0, finetune=tune)}),
            tmp_path / "none",
        )
