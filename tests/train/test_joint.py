"""The joint: ordered stream -> TorchTrainer -> DeepSpeed, with a worker killed between two checkpoints."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from ray import cloudpickle

from pipelines.schema import sequence_schema
from snowcoder.base import UserError
from train import audit
from train.checkpoints import read_pointer
from train.config import ModelConfig, ScheduleConfig, TrainConfig
from train.deal import deal
from train.export import export, weights
from train.model import build_model, check_weights
from train.schedules import learning_rate
from train.trainer import TrainingFailed, fit

cloudpickle.register_pickle_by_value(sys.modules[__name__])  # Ray's workers cannot import a test file
pytestmark = pytest.mark.timeout(900)  # worker start-up is most of it, and slow on a loaded machine

SEQ_LEN, VOCAB, STEPS = 32, 64, 12
MODEL = ModelConfig(layers=2, hidden=64, ffn=96, heads=1, vocab=VOCAB, context=SEQ_LEN)


def config(**changes) -> TrainConfig:
    settings = {
        "model": MODEL,
        "schedule": ScheduleConfig(warmup_tokens=64, peak_lr=3e-3, end_lr=0.0),
        "seq_len": SEQ_LEN,
        "global_batch": 8,
        "micro_batch": 2,
        "num_workers": 2,
        "group": 3,
        "checkpoint_every_steps": 5,
        "max_failures": 2,
        "progress_every_seconds": 1.0,
    }
    return TrainConfig(**settings | changes)


def sequences(first: int, count: int, seq_len: int = SEQ_LEN) -> pa.Table:
    """Rows first..first+count of an endless order; row i is the same whoever asks for it."""
    index = np.arange(first, first + count)
    tokens = np.stack([np.random.default_rng(i).zipf(1.5, seq_len) % VOCAB for i in index]).astype(np.int32)
    columns = [
        pa.FixedSizeListArray.from_arrays(pa.array(tokens.reshape(-1)), seq_len),
        pa.array(seq_len - index % 7, pa.int32()),
        pa.array([[0, 5 + i % 9] for i in index], pa.list_(pa.int32())),
        pa.array(index // 40, pa.int32()),
        pa.array(index % 40 // 10, pa.int32()),
        pa.array(index % 10, pa.int32()),
        pa.array(index // 8, pa.int64()),
    ]
    return pa.Table.from_arrays(columns, schema=sequence_schema(seq_len))


def stream(cfg: TrainConfig, total_steps: int, jitter: bool = True) -> Callable[[int], object]:
    """The dataset factory: groups in deal order, made by parallel tasks that finish in any order."""

    def group(batch: pa.Table) -> pa.Table:
        first_step = batch["step"][0].as_py()
        if jitter:
            time.sleep(np.random.default_rng().uniform(0, 0.1))
        rows = sequences(first_step * cfg.global_batch, cfg.group * cfg.global_batch, cfg.seq_len)
        steps = rows["step"].to_numpy()
        filler = pa.array(np.where(steps < total_steps, steps, -1), pa.int64())
        rows = rows.set_column(rows.schema.get_field_index("step"), "step", filler)
        return rows.take(pa.array(deal(cfg.num_workers, cfg.global_batch, cfg.group)))

    def factory(position: int) -> object:
        import ray.data

        starts = [{"step": step} for step in range(position, total_steps, cfg.group)]
        dataset = ray.data.from_items(starts, override_num_blocks=len(starts))
        dataset = dataset.map_batches(group, batch_format="pyarrow", batch_size=1)
        return dataset.repartition(target_num_rows_per_block=cfg.group * cfg.rows_per_step, strict=True)

    return factory


def kill_worker_after(phase_dir: Path, rank: int, step: int) -> threading.Thread:
    """SIGKILL a rank's process as soon as rank 0 has finished `step`."""

    def wait_and_kill() -> None:
        metrics = phase_dir / "metrics.jsonl"
        while not (metrics.exists() and f'{{"step": {step},' in metrics.read_text()):
            time.sleep(0.002)
        os.kill(int((phase_dir / f"worker-{rank}.pid").read_text()), signal.SIGKILL)

    thread = threading.Thread(target=wait_and_kill, daemon=True)
    thread.start()
    return thread


def train(run_dir: Path, cfg: TrainConfig, total_steps: int = STEPS, **changes) -> dict:
    arguments = {"total_steps": total_steps, "fingerprint": "order-a"} | changes
    return fit(cfg, "general", stream(cfg, total_steps), run_dir, **arguments)


def final_weights(run_dir: Path, cfg: TrainConfig) -> dict:
    phase_dir = run_dir / "train" / "general"
    return weights(phase_dir / read_pointer(phase_dir).checkpoint, cfg)


def losses(run_dir: Path) -> list[float]:
    lines = (run_dir / "train" / "general" / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line)["loss"] for line in lines]


@pytest.fixture(scope="module")
def undisturbed(ray_session, tmp_path_factory) -> Path:
    run_dir = tmp_path_factory.mktemp("undisturbed")
    assert train(run_dir, config())["restarts"] == 0
    return run_dir


def test_killed_worker_changes_nothing(undisturbed: Path, tmp_path: Path) -> None:
    cfg = config()
    phase_dir = tmp_path / "train" / "general"
    killer = kill_worker_after(phase_dir, rank=1, step=7)  # committed: 5; lost: 5, 6, 7
    summary = train(tmp_path, cfg)
    killer.join(timeout=1)

    assert summary["restarts"] == 1
    log = [json.loads(line) for line in (phase_dir / "audit-rank0.jsonl").read_text().splitlines()]
    assert [line["resume"] for line in log if "resume" in line] == [0, 5]
    assert [line["step"] for line in log if "step" in line].count(7) == 2  # trained, lost, trained

    order = audit.committed_order(tmp_path, "general")
    assert audit.check(order, cfg.global_batch, STEPS) == []
    rows = sequences(0, STEPS * cfg.global_batch)
    names = list(zip(*(rows[column].to_pylist() for column in ("epoch", "shard", "index")), strict=True))
    assert [row for _, part in order for row in part] == names

    assert losses(tmp_path) == losses(undisturbed)
    ours, theirs = final_weights(tmp_path, cfg), final_weights(undisturbed, cfg)
    assert ours.keys() == theirs.keys()
    assert all(ours[name].equal(theirs[name]) for name in ours)


def test_finished_phase_is_not_trained_again(undisturbed: Path) -> None:
    phase_dir = undisturbed / "train" / "general"
    before = (phase_dir / "audit-rank0.jsonl").read_bytes()
    summary = train(undisturbed, config())
    assert summary["steps"] == STEPS
    assert (phase_dir / "audit-rank0.jsonl").read_bytes() == before


def test_other_order_is_refused(undisturbed: Path) -> None:
    with pytest.raises(UserError, match=r"order-a.*order-b"):
        train(undisturbed, config(), fingerprint="order-b")


def test_a_stream_that_starts_elsewhere_is_fatal(ray_session, tmp_path: Path) -> None:
    cfg = config(num_workers=1, max_failures=0)
    shifted = stream(cfg, STEPS)
    with pytest.raises(TrainingFailed, match=r"rank 0: .*expected 8 rows of step 0, got 8 rows of step 1"):
        fit(cfg, "general", lambda at: shifted(at + 1), tmp_path, total_steps=STEPS, fingerprint="order-a")
    assert read_pointer(tmp_path / "train" / "general") is None


def test_data_that_ends_early_is_kept_and_told(ray_session, tmp_path: Path) -> None:
    cfg = config(num_workers=1, max_failures=3)
    short = stream(cfg, STEPS)
    with pytest.raises(UserError, match=rf"the data ended after {STEPS} of {STEPS + 8} steps"):
        fit(cfg, "general", short, tmp_path, total_steps=STEPS + 8, fingerprint="order-a")
    assert read_pointer(tmp_path / "train" / "general").position == STEPS
    longer = stream(cfg, STEPS + 8)
    summary = fit(cfg, "general", longer, tmp_path, total_steps=STEPS + 8, fingerprint="order-a")
    assert summary["steps"] == STEPS + 8
    assert audit.check(audit.committed_order(tmp_path, "general"), cfg.global_batch, STEPS + 8) == []


def test_too_small_a_cluster_is_refused(ray_session, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"8 workers and the data stream need 9 CPU, the cluster has 4"):
        train(tmp_path, config(num_workers=8, micro_batch=1))


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
    check_weights(exported, MODEL)
    with pytest.raises(UserError, match=r"intermediate_size is 96, train.model says 97"):
        check_weights(exported, MODEL.model_copy(update={"ffn": 97}))
    model = AutoModelForCausalLM.from_pretrained(exported)
    trained = build_model(MODEL)
    trained.load_state_dict(final_weights(undisturbed, config()))
    tokens = torch.arange(VOCAB)[None, :SEQ_LEN]
    assert model(tokens).logits.equal(trained(tokens).logits)

    cfg = config(precision="bf16", zero_stage=2, document_mask=True, checkpoint_every_steps=4)
    summary = fit(
        cfg, "continued", stream(cfg, 4), tmp_path, total_steps=4, fingerprint="order-b", init_from=exported
    )
    # It starts where the first phase ended, and bf16 does not undo it.
    assert summary["first_loss"] == pytest.approx(losses(undisturbed)[-1], abs=0.1)
    assert summary["last_loss"] < losses(undisturbed)[0]
    again = AutoModelForCausalLM.from_pretrained(export(tmp_path, "continued", cfg, tokenizer(tmp_path)))
    assert AutoTokenizer.from_pretrained(tmp_path / "model" / "continued")("a b")["input_ids"] == [1, 2]
    assert again.config.eos_token_id == 0
    assert again.dtype == torch.bfloat16
    assert torch.isfinite(again(tokens).logits).all()
