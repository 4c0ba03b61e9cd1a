"""From one phase to the next with the optimizer's state, and checkpoints that are asked while training goes on."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from ray import cloudpickle

from tests.train.orders import config, final_weights, losses, sequences, stream, train
from train.config import ScheduleConfig
from train.engine import IGNORED, targets
from train.model import build_model
from train.schedules import learning_rate
from train.trainer import fit
from train.validation import Validation, read_record

cloudpickle.register_pickle_by_value(sys.modules[__name__])  # Ray's workers cannot import a test file

pytestmark = pytest.mark.timeout(900)

FIRST, SECOND = 6, 5
SCHEDULE = ScheduleConfig(warmup_tokens=256, peak_lr=3e-3, end_lr=0.0)


def score(model: torch.nn.Module) -> dict[str, float]:
    return {"embedding": float(model.get_input_embeddings().weight.double().sum())}


def plain(orders: list[int], rates: list[float]) -> list[float]:
    """Losses of a loop by hand over these global batches of the order, one optimizer throughout."""
    cfg = config()
    model = build_model(cfg.model, cfg.seed).train()
    groups = [
        {
            "params": [p for p in model.parameters() if p.ndim >= 2],
            "weight_decay": cfg.optimizer.weight_decay,
        },
        {"params": [p for p in model.parameters() if p.ndim < 2], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(
        groups, betas=(cfg.optimizer.beta1, cfg.optimizer.beta2), eps=cfg.optimizer.eps
    )
    found = []
    for step, lr in zip(orders, rates, strict=True):
        rows = sequences(step * cfg.global_batch, cfg.global_batch)
        tokens = np.array(rows["tokens"].to_pylist(), np.int32)
        wanted = targets(tokens, rows["loss_tokens"].to_numpy())
        logits = model(input_ids=torch.from_numpy(tokens.astype(np.int64))).logits
        loss = torch.nn.functional.cross_entropy(
            logits.flatten(0, 1), torch.from_numpy(wanted).flatten(), ignore_index=IGNORED
        )
        for group in optimizer.param_groups:
            group["lr"] = lr
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), cfg.optimizer.clip)
        optimizer.step()
        found.append(loss.item())
    return found


def test_optimizer_is_carried_over_and_checkpoints_are_validated(ray_session, tmp_path: Path) -> None:
    """Two workers, then one: what the second phase starts from is moments and all, resharded."""
    cfg = config(num_workers=2, checkpoint_every_steps=3, schedule=SCHEDULE)
    train(tmp_path, cfg, total_steps=FIRST, validation=Validation(score, cpus=0.5))
    record = read_record(tmp_path / "train/general")
    assert [line["position"] for line in record] == [3, 6]
    assert record[-1]["tokens"] == 6 * cfg.tokens_per_step
    embedding = final_weights(tmp_path, cfg)["model.embed_tokens.weight"].double().sum()
    assert record[-1]["embedding"] == pytest.approx(float(embedding), abs=1e-9)
    assert record[0]["embedding"] != record[1]["embedding"]

    alone = cfg.model_copy(update={"num_workers": 1})
    fit(
        alone,
        "continued",
        stream(alone, SECOND),
        tmp_path,
        total_steps=SECOND,
        fingerprint={"order": "b"},
        carry_from="general",
    )
    rates = [learning_rate(step, FIRST, cfg.tokens_per_step, SCHEDULE) for step in range(FIRST)]
    rates += [learning_rate(step, SECOND, cfg.tokens_per_step, SCHEDULE) for step in range(SECOND)]
    expected = plain([*range(FIRST), *range(SECOND)], rates)
    assert losses(tmp_path) == pytest.approx(expected[:FIRST], abs=1e-5)
    assert losses(tmp_path, "continued") == pytest.approx(expected[FIRST:], abs=1e-5)
