"""Size and cost of the model, and the masking of training documents."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from transformers import LlamaForCausalLM

from train.config import ModelConfig, TrainConfig
from train.engine import IGNORED, document_positions, targets
from train.model import build_model, embedding_count, flops_per_token, llama_config, parameter_count
from train.throughput import utilisation

TINY = ModelConfig(layers=2, hidden=64, ffn=96, heads=1, vocab=50, context=64)


@pytest.mark.parametrize(
    "cfg",
    [
        ModelConfig(),
        TINY,
        ModelConfig(layers=3, hidden=128, ffn=200, heads=4, kv_heads=2, vocab=99, tie_embeddings=False),
    ],
)
def test_parameter_count_is_that_of_the_real_model(cfg: ModelConfig) -> None:
    with torch.device("meta"):
        model = LlamaForCausalLM(llama_config(cfg))
    assert parameter_count(cfg) == sum(p.numel() for p in model.parameters())


def test_the_papers_model_has_1364_million_parameters() -> None:
    assert round(parameter_count(ModelConfig()) / 1e6) == 1364
    assert round((parameter_count(ModelConfig()) - embedding_count(ModelConfig())) / 1e6) == 1233


def test_flops_match_a_counted_forward_and_backward_pass() -> None:
    from torch.utils.flop_counter import FlopCounterMode

    cfg, seq_len = TINY, 64
    model = build_model(cfg, attention="eager")
    with FlopCounterMode(display=False) as counter:
        model(input_ids=torch.zeros(1, seq_len, dtype=torch.int64)).logits.sum().backward()
    # The counter sees the whole square of scores, we count the causal half.
    attention = 6 * cfg.layers * cfg.hidden * seq_len
    norms = (
        6 * (2 * cfg.layers + 1) * cfg.hidden
    )  # not matrix products, and negligible; the closed form has them
    expected = flops_per_token(cfg, seq_len) + attention - norms
    assert counter.get_total_flops() / seq_len == pytest.approx(expected, rel=0.01)


def test_utilisation_needs_a_known_device() -> None:
    # llm-foundry's table: 1.316B on 8 H100 at sequence length 2048 runs 45,455 tokens a second and card.
    used = utilisation(8 * 45_455, flops_per_token(ModelConfig(), 2048), 8, "NVIDIA H100 80GB HBM3")
    assert used == pytest.approx(0.41, abs=0.02)
    assert utilisation(1e6, 1e9, 8, "NVIDIA Something New") is None


def test_same_seed_same_weights() -> None:
    first, same, other = (build_model(TINY, seed).state_dict() for seed in (1, 1, 2))
    assert all(first[name].equal(same[name]) for name in first)
    assert not first["lm_head.weight"].equal(other["lm_head.weight"])


def test_targets_are_the_next_tokens_of_the_text() -> None:
    tokens = np.arange(10, dtype=np.int32).reshape(2, 5)
    assert targets(tokens, np.array([5, 2])).tolist() == [
        [1, 2, 3, 4, IGNORED],
        [6, IGNORED, IGNORED, IGNORED, IGNORED],
    ]
    assert (targets(tokens, np.array([1, 0])) == IGNORED).all()


def test_masked_document_does_not_see_its_neighbour() -> None:
    model = build_model(TINY)
    tokens = torch.randint(0, 50, (2, 12), generator=torch.Generator().manual_seed(0))
    positions = document_positions([np.array([0, 5, 9]), np.array([0])], 12)
    assert positions.tolist() == [[0, 1, 2, 3, 4, 0, 1, 2, 3, 0, 1, 2], list(range(12))]
    with torch.no_grad():
        packed = model(input_ids=tokens, position_ids=torch.from_numpy(positions)).logits
        alone = model(input_ids=tokens[:1, 5:9]).logits
        whole = model(input_ids=tokens[1:]).logits
        unmasked = model(input_ids=tokens[:1]).logits
    torch.testing.assert_close(packed[0, 5:9], alone[0])
    torch.testing.assert_close(packed[1], whole[0])
    assert not torch.allclose(unmasked[0, 5:9], alone[0])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_workers": 3}, "multiple of train.num_workers"),
        ({"num_workers": 2, "micro_batch": 3}, "must divide the 256 rows"),
        ({"seq_len": 9000}, "longer than model.context"),
        ({"precision": "bf16", "zero_stage": 0}, "zero_stage >= 1"),
        ({"model": {"hidden": 100, "heads": 3}}, "even head size"),
        ({"micro_bacth": 2}, "Extra inputs"),
    ],
)
def test_impossible_configurations_are_refused(changes: dict, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        TrainConfig(**changes)
