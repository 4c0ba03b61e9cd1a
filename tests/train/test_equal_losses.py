"""Our step on real ranks against a plain PyTorch loop over the same batches: the same losses, whatever ZeRO spreads."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.train.groups import SEQ_LEN, batch, config, on_ranks, plain_losses, share, write
from train.accounts import Accounts
from train.engine import Rows, document_positions, targets
from train.model import build_model

pytestmark = pytest.mark.timeout(900)  # processes that import torch and DeepSpeed: slow on a loaded machine

STEPS = 50
# As high as the demo trains with. Three times as high, rounding alone grows past 1e-5 before the last step.
RATES = [1e-3 * min(1.0, (step + 0.5) / 5) for step in range(STEPS)]
ACCOUNTS = Accounts(("C", "Java"), ("a", "b"), {1: 1})  # number 2 has no name
ARMS = {
    "1": {"zero_stage": 1},
    "2": {"zero_stage": 2},
    "3": {"zero_stage": 3},
    "recomputed": {"zero_stage": 1, "recompute_activations": True},
    "offloaded": {"zero_stage": 2, "offload": "optimizer"},
}


def _train(rank: int, world: int, out: str) -> None:
    from train.engine import prepare_process, start_engine, train_step

    found = {}
    for name, changes in ARMS.items():
        cfg = config(num_workers=world, **changes)
        prepare_process(cfg)
        engine = start_engine(build_model(cfg.model, seed=1), cfg)
        results = [
            train_step(engine, share(batch(step), rank, world), lr, cfg, (rank,), ACCOUNTS)
            for step, lr in enumerate(RATES)
        ]
        assert all(result.votes == (sum(range(world)),) for result in results)
        sums = results[-1].sums
        assert sums is not None
        found[name] = {
            "losses": [result.loss for result in results],
            "norm": results[-1].grad_norm,
            "tokens": results[-1].loss_tokens,
            "sums": sums.tolist(),
        }
    if rank == 0:
        write(Path(out), found)


@pytest.fixture(scope="module", params=[1, 2])
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict:
    out = tmp_path_factory.mktemp("losses") / "found.json"
    on_ranks(request.param, _train, str(out))
    return json.loads(out.read_text())


@pytest.fixture(scope="module")
def expected() -> list[float]:
    cfg = config()
    return plain_losses(build_model(cfg.model, seed=1), cfg, RATES)


@pytest.mark.parametrize("arm", ARMS)
def test_losses_are_those_of_a_plain_loop(trained: dict, expected: list[float], arm: str) -> None:
    assert max(abs(np.array(trained[arm]["losses"]) - expected)) < 1e-5
    assert expected[-1] < expected[0] - 0.5  # it learns


def test_loss_is_told_apart_by_language_and_source(trained: dict) -> None:
    """The parts are the loss of the last batch; their number is what its rows say, counted by hand."""
    for found in trained.values():
        sums = np.array(found["sums"])
        assert sums[0].sum() / sums[1].sum() == pytest.approx(found["losses"][-1], abs=1e-5)
        assert sums[1].sum() == found["tokens"]
        rows = batch(STEPS - 1)
        counts: dict[tuple[int, str], int] = {}
        for row, starts in enumerate(rows.boundaries):
            for token in range(SEQ_LEN - 1):
                if token + 1 < rows.loss_tokens[row]:
                    language = rows.languages[row][np.searchsorted(starts, token, side="right") - 1]
                    name = ("C", "Java", "other")[language]
                    counts[row % 2, name] = counts.get((row % 2, name), 0) + 1
        by_hand = [
            [counts.get((source, name), 0) for name in ("C", "Java", "several", "other")] for source in (0, 1)
        ]
        assert sums[1].reshape(2, 4).tolist() == by_hand
        by_language = ACCOUNTS.by_language(sums)
        assert set(by_language) == {"C", "Java", "other"}
        assert set(ACCOUNTS.by_source(sums)) == {"a", "b"}


@pytest.mark.parametrize("packing", ["concatenate", "best_fit"])
def test_masked_rows_have_the_losses_of_each_document_alone(packing: str) -> None:
    from pipelines.sequences.join import Ragged
    from pipelines.sequences.pack import concatenated, fitted

    rng = np.random.default_rng(0)
    documents = [rng.integers(0, 80, n).astype(np.int32) for n in rng.integers(2, 45, 20)]
    ragged = Ragged.of(documents)
    packed = concatenated(ragged, SEQ_LEN, 0) if packing == "concatenate" else fitted(ragged, SEQ_LEN, 0, [1])
    model = build_model(config().model, seed=1).eval()

    rows = Rows(packed.rows, packed.text_tokens, packed.boundaries)
    wanted = targets(rows.tokens, rows.loss_tokens, rows.boundaries)
    positions = document_positions(rows.boundaries, SEQ_LEN)
    together = _loss(model, rows.tokens, wanted, positions)

    alone = 0.0
    count = 0
    for row, used, starts in zip(packed.rows, packed.text_tokens, packed.boundaries, strict=True):
        for piece in np.split(row[:used], starts[starts > 0]):
            alone += _loss(model, piece[None], targets(piece[None], np.array([len(piece)])))
            count += len(piece) - 1
    assert count == np.count_nonzero(wanted >= 0)
    if packing == "best_fit":  # whole documents, where they fit: as if they had never been packed
        whole = [d for d in documents if len(d) <= SEQ_LEN]
        assert sum(len(part) for part in packed.boundaries) == len(whole) + sum(
            -(-len(d) // SEQ_LEN) for d in documents if len(d) > SEQ_LEN
        )
    assert together / count == pytest.approx(alone / count, abs=1e-5)
    visible = _loss(model, rows.tokens, wanted)
    assert abs(visible - together) / count > 1e-4  # without the mask it is another loss


def _loss(
    model: torch.nn.Module, tokens: np.ndarray, wanted: np.ndarray, positions: np.ndarray | None = None
) -> float:
    """Summed over the predicted tokens."""
    inputs = {"input_ids": torch.from_numpy(tokens.astype(np.int64))}
    if positions is not None:
        inputs["position_ids"] = torch.from_numpy(positions)
    with torch.no_grad():
        logits = model(**inputs).logits
    return torch.nn.functional.cross_entropy(
        logits.flatten(0, 1).double(), torch.from_numpy(wanted).flatten(), ignore_index=-100, reduction="sum"
    ).item()
