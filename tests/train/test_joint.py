"""The joint: ordered stream -> TorchTrainer -> DeepSpeed, with a worker killed between two checkpoints."""

from __future__ import annotations

import json
import re
import shutil
import signal
import threading
import time
from pathlib import Path

import pytest

from snowcoder.base import UserError
from tests.train.orders import (
    MODEL,
    SEQ_LEN,
    STEPS,
    VOCAB,
    assert_exact,
    assert_same_weights,
    config,
    final_weights,
    kill_worker_after,
    losses,
    sequences,
    stream,
    train,
)
from train import audit
from train.checkpoints import checkpoint_storage, owner, read_pointer, scratch, take_over
from train.export import export
from train.model import build_model, check_weights
from train.schedules import learning_rate
from train.trainer import TrainingFailed, fit

pytestmark = pytest.mark.timeout(900)  # worker start-up is most of it, and slow on a loaded machine


@pytest.fixture(scope="module")
def undisturbed(ray_session, tmp_path_factory) -> Path:
    run_dir = tmp_path_factory.mktemp("undisturbed")
    assert train(run_dir, config())["restarts"] == 0
    return run_dir


def test_killed_worker_changes_nothing(undisturbed: Path, tmp_path: Path) -> None:
    cfg = config(async_checkpoints=False)
    phase_dir = tmp_path / "train" / "general"
    killer = kill_worker_after(phase_dir, rank=1, step=7)  # committed: 5; lost: 5, 6, 7
    summary = train(tmp_path, cfg)
    killer.join(timeout=1)

    assert summary["restarts"] == 1
    log = [json.loads(line) for line in (phase_dir / "audit-rank0.jsonl").read_text().splitlines()]
    assert [line["resume"] for line in log if "resume" in line] == [0, 5]
    assert [line["step"] for line in log if "step" in line].count(7) == 2  # trained, lost, trained

    assert_exact(tmp_path, cfg.global_batch, STEPS)
    assert losses(tmp_path) == losses(undisturbed)
    assert_same_weights(tmp_path, undisturbed, cfg)
    assert (
        list(scratch(checkpoint_storage(cfg, "general", phase_dir)).iterdir()) == []
    )  # not even of the dead


def test_a_rank_that_hangs_is_told_and_left_behind(undisturbed: Path, tmp_path: Path, capfd) -> None:
    cfg = config(async_checkpoints=False, collective_timeout_seconds=6.0)
    phase_dir = tmp_path / "train" / "general"
    stopper = kill_worker_after(phase_dir, rank=1, step=7, with_signal=signal.SIGSTOP)
    summary = train(tmp_path, cfg)
    stopper.join(timeout=1)

    assert summary["restarts"] == 1
    assert re.search(
        r"rank 0: .*rank 0, step (8|9): .*[Tt]imed? ?out.*again from step 5", capfd.readouterr().out
    )
    assert_exact(tmp_path, cfg.global_batch, STEPS)
    assert losses(tmp_path) == losses(undisturbed)


def test_a_phase_that_was_started_again_elsewhere_commits_nothing_more(ray_session, tmp_path: Path) -> None:
    cfg = config(num_workers=1)
    storage = checkpoint_storage(cfg, "general", tmp_path / "train" / "general")

    def elsewhere() -> None:
        while read_pointer(storage) is None:
            time.sleep(0.002)
        take_over(storage, "another driver")

    other = threading.Thread(target=elsewhere, daemon=True)
    other.start()
    with pytest.raises(UserError, match=r"general has been started again elsewhere \(another driver\)"):
        train(tmp_path, cfg, total_steps=200)
    assert read_pointer(storage).position in (5, 10)  # the commit that let it in, or the one under way then
    assert owner(storage) == "another driver"


def test_finished_phase_is_not_trained_again(undisturbed: Path) -> None:
    phase_dir = undisturbed / "train" / "general"
    before = (phase_dir / "audit-rank0.jsonl").read_bytes()
    summary = train(undisturbed, config())
    assert summary["steps"] == STEPS
    assert (phase_dir / "audit-rank0.jsonl").read_bytes() == before


def test_other_order_is_refused(undisturbed: Path) -> None:
    with pytest.raises(UserError, match=r"order was a and is now b.*--accept-new-data"):
        train(undisturbed, config(), fingerprint={"order": "b"})


def test_a_stream_that_starts_elsewhere_is_fatal(ray_session, tmp_path: Path) -> None:
    cfg = config(num_workers=1, max_failures=0)
    shifted = stream(cfg, STEPS)
    with pytest.raises(TrainingFailed, match=r"rank 0: .*expected 8 rows of step 0, got 8 rows of step 1"):
        fit(
            cfg,
            "general",
            lambda at, stop, workers: shifted(at + 1, stop, workers),
            tmp_path,
            total_steps=STEPS,
            fingerprint={"order": "a"},
        )
    assert read_pointer(tmp_path / "train" / "general") is None


def test_data_that_ends_early_is_kept_and_told(ray_session, tmp_path: Path) -> None:
    cfg = config(num_workers=1, max_failures=3)
    short = stream(cfg, STEPS)
    with pytest.raises(UserError, match=rf"the data ended after {STEPS} of {STEPS + 8} steps"):
        fit(cfg, "general", short, tmp_path, total_steps=STEPS + 8, fingerprint={"order": "a"})
    assert read_pointer(tmp_path / "train" / "general").position == STEPS
    longer = stream(cfg, STEPS + 8)
    summary = fit(cfg, "general", longer, tmp_path, total_steps=STEPS + 8, fingerprint={"order": "a"})
    assert summary["steps"] == STEPS + 8
    assert audit.check(audit.committed_order(tmp_path, "general"), cfg.global_batch, STEPS + 8) == []


def test_too_small_a_cluster_is_refused(ray_session, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"8 workers and the data stream need 9 CPU, the cluster has 4"):
        train(tmp_path, config(num_workers=8, micro_batch=1, wait_for_nodes_seconds=0.0))


def plain_torch(steps: list[tuple[int, float]]) -> tuple[list[float], dict]:
    """The same in the obvious way: one process, whole batches, no DeepSpeed. Returns losses and weights."""
    import torch
    import torch.nn.functional as F

    torch.set_num_threads(1)
    model = build_model(MODEL)
    matrices = [p for p in model.parameters() if p.ndim >= 2]
    vectors = [p for p in model.parameters() if p.ndim < 2]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.95), eps=1e-8)
    found = []
    for step, lr in steps:
        rows = sequences(step * 8, 8)
        logits = model(input_ids=torch.tensor(rows["tokens"].to_pylist())).logits
        texts = zip(rows["tokens"].to_pylist(), rows["loss_tokens"].to_pylist(), strict=True)
        wanted = [torch.tensor(tokens[1:length]) for tokens, length in texts]
        given = [row[: len(want)] for row, want in zip(logits, wanted, strict=True)]
        loss = F.cross_entropy(torch.cat(given), torch.cat(wanted))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for group in optimizer.param_groups:
            group["lr"] = lr
        optimizer.step()
        found.append(loss.item())
    return found, model.state_dict()


def rates(first: int, last: int, total_steps: int) -> list[tuple[int, float]]:
    cfg = config()
    return [
        (step, learning_rate(step, total_steps, cfg.tokens_per_step, cfg.schedule))
        for step in range(first, last)
    ]


def test_equals_plain_torch(undisturbed: Path) -> None:
    expected, theirs = plain_torch(rates(0, STEPS, STEPS))
    assert losses(undisturbed) == pytest.approx(expected, rel=1e-5)
    assert expected[-1] < expected[0] - 0.3  # it learns
    ours = final_weights(undisturbed, config())
    for name, tensor in ours.items():
        assert (tensor - theirs[name]).abs().max() < 1e-5, name


def test_goes_on_with_another_number_of_workers(undisturbed: Path, tmp_path: Path) -> None:
    shutil.copytree(undisturbed, tmp_path, dirs_exist_ok=True)
    summary = train(tmp_path, config(num_workers=1), total_steps=STEPS + 3)
    assert summary["steps"] == STEPS + 3
    expected, _ = plain_torch(rates(0, STEPS, STEPS) + rates(STEPS, STEPS + 3, STEPS + 3))
    assert losses(tmp_path) == pytest.approx(expected, rel=1e-5)
    assert audit.check(audit.committed_order(tmp_path, "general"), 8, STEPS + 3) == []


def tokenizer(directory: Path, words: str = "a b") -> Path:
    """A small tokenizer, saved."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = {word: index for index, word in enumerate(["<eos>", *words.split()])}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token="<eos>"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<eos>").save_pretrained(directory / "tokens")
    return directory / "tokens"


def test_next_phase_in_bf16_from_exported_weights(undisturbed: Path, tmp_path: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    exported = export(undisturbed, "general", config())
    check_weights(exported, config())
    with pytest.raises(UserError, match=r"intermediate_size is 96, train.model says 97"):
        check_weights(exported, config(model=MODEL.model_copy(update={"ffn": 97})))
    model = AutoModelForCausalLM.from_pretrained(exported)
    trained = build_model(MODEL)
    trained.load_state_dict(final_weights(undisturbed, config()))
    tokens = torch.arange(VOCAB)[None, :SEQ_LEN]
    assert model(tokens).logits.equal(trained(tokens).logits)

    cfg = config(precision="bf16", zero_stage=2, document_mask=True, checkpoint_every_steps=4)
    summary = fit(
        cfg,
        "continued",
        stream(cfg, 4),
        tmp_path,
        total_steps=4,
        fingerprint={"order": "b"},
        init_from=exported,
    )
    # It starts where the first phase ended, and bf16 does not undo it.
    assert summary["first_loss"] == pytest.approx(losses(undisturbed)[-1], abs=0.1)
    assert summary["last_loss"] < losses(undisturbed)[0]
    again = AutoModelForCausalLM.from_pretrained(export(tmp_path, "continued", cfg, tokenizer(tmp_path)))
    assert AutoTokenizer.from_pretrained(tmp_path / "model" / "continued")("a b")["input_ids"] == [1, 2]
    assert again.config.eos_token_id == 0
    assert again.dtype == torch.bfloat16
    assert torch.isfinite(again(tokens).logits).all()
