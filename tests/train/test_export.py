"""Consolidated weights from every ZeRO stage, by real ranks: the ones that were trained, and loadable by anybody."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.train.groups import batch, config, on_ranks, share
from train import checkpoints
from train.checkpoints import Pointer, write_pointer
from train.config import TrainConfig
from train.export import export, weights
from train.model import build_model

pytestmark = pytest.mark.timeout(900)  # processes that import torch and DeepSpeed: slow on a loaded machine

ARMS = {
    "0": {"zero_stage": 0},
    "1": {"zero_stage": 1},
    "2": {"zero_stage": 2},
    "3": {"zero_stage": 3},
    "1-bf16": {"zero_stage": 1, "precision": "bf16"},
    "3-bf16": {"zero_stage": 3, "precision": "bf16"},
}


def _save(rank: int, world: int, root: str) -> None:
    from train.engine import prepare_process, start_engine, train_step

    for name, changes in ARMS.items():
        cfg = config(num_workers=world, **changes)
        prepare_process(cfg)
        engine = start_engine(build_model(cfg.model, seed=2), cfg)
        for step in range(3):
            train_step(engine, share(batch(step), rank, world), 1e-3, cfg)
        engine.save_checkpoint(f"{root}/{name}/train/general/checkpoints/one", tag=checkpoints.TAG)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("states")
    on_ranks(2, _save, str(root))
    for name, changes in ARMS.items():
        cfg = config(num_workers=2, **changes)
        pointer = Pointer(
            position=3,
            checkpoint="checkpoints/one",
            fingerprint={},
            world_size=2,
            global_batch=cfg.global_batch,
            seq_len=cfg.seq_len,
            zero_stage=cfg.zero_stage,
            precision=cfg.precision,
        )
        write_pointer(root / name / "train" / "general", pointer)
    return root


def of(arm: str) -> TrainConfig:
    return config(num_workers=2, **ARMS[arm])


def test_every_stage_gives_the_same_weights(saved: Path) -> None:
    first = build_model(of("0").model, seed=2).state_dict()
    found = {arm: weights(saved / arm / "train/general/checkpoints/one", of(arm)) for arm in ARMS}
    for arm in ("1", "2", "3"):
        for name, tensor in found["0"].items():
            assert (found[arm][name] - tensor).abs().max() < 1e-5, (arm, name)
    assert any((found["0"][name] - tensor).abs().max() > 1e-4 for name, tensor in first.items())  # it trained
    for arm in ("1-bf16", "3-bf16"):  # the fp32 master copy, near the fp32 run's
        assert all(tensor.dtype == torch.float32 for tensor in found[arm].values())
        assert max((found[arm][name] - tensor).abs().max() for name, tensor in found["0"].items()) < 0.01


@pytest.mark.parametrize("arm", ARMS)
def test_transformers_loads_it_with_equal_logits(saved: Path, arm: str) -> None:
    from safetensors import safe_open
    from transformers import AutoModelForCausalLM

    cfg = of(arm)
    directory = export(saved / arm, "general", cfg)
    precision = torch.bfloat16 if cfg.precision == "bf16" else torch.float32
    assert AutoModelForCausalLM.from_pretrained(directory).dtype == precision
    # In fp32, as casting a whole model also rounds the positions' frequencies, which loading does not.
    loaded = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32)
    state = weights(saved / arm / "train/general/checkpoints/one", cfg)
    ours = build_model(cfg.model).eval()
    ours.load_state_dict({name: tensor.to(precision).float() for name, tensor in state.items()})
    tokens = torch.arange(32)[None]
    with torch.no_grad():
        assert loaded(tokens).logits.equal(ours(tokens).logits)
    with safe_open(directory / "model.safetensors", "pt") as file:
        assert "lm_head.weight" not in file.keys()  # noqa: SIM118 - not a dict; tied, so stored once


def test_a_model_of_another_family_is_gone_on_with(tmp_path: Path) -> None:
    """Any causal language model by its path: its own class, its shape, its figures."""
    from transformers import AutoModelForCausalLM, Qwen2Config, Qwen2ForCausalLM

    from train.model import check_weights, empty_model, load_model, trained_flops_per_token, vocabulary

    shape = Qwen2Config(
        vocab_size=96,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=64,
        tie_word_embeddings=True,
    )
    torch.manual_seed(0)
    Qwen2ForCausalLM(shape).save_pretrained(tmp_path)
    cfg = config(init_from=str(tmp_path))
    model = load_model(tmp_path)
    assert isinstance(model, Qwen2ForCausalLM)
    check_weights(tmp_path, cfg)
    assert vocabulary(cfg) == 96
    empty = empty_model(cfg)
    empty.load_state_dict(model.state_dict())
    tokens = torch.arange(20)[None]
    with torch.no_grad():
        again = AutoModelForCausalLM.from_pretrained(tmp_path)
        assert empty.eval()(tokens).logits.equal(again(tokens).logits)
    count = sum(p.numel() for p in model.parameters())
    assert trained_flops_per_token(cfg) == 6 * count + 6 * 2 * 32 * cfg.seq_len
