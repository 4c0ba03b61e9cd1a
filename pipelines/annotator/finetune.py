"""Fine-tuning the encoder: its head's exact fit first, then encoder and head together, then the head again.

Starting from the fitted head keeps the first steps from tearing up what the encoder knows (Kumar et al. 2022, arXiv
2202.10054). The result is an encoder directory like any other; its head is fitted anew on the frozen result, so that
calibration, languages and scoring are the same as without fine-tuning.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.annotator.config import AnnotatorConfig
from pipelines.annotator.encoder import resolve_encoder
from pipelines.annotator.fit import balanced
from pipelines.annotator.head import Head
from pipelines.annotator.windows import Windows
from pipelines.annotator.workers import run_on_ray
from snowcoder.base import UserError

if TYPE_CHECKING:
    import torch

    from pipelines.annotator.train import Documents

_TOKENIZER = ("tokenizer.json", "tokenizer_config.json")


def finetune(
    documents: Documents,
    windows: Windows,
    head: Head,
    cfg: AnnotatorConfig,
    work: Path,
    out: Path,
    labels: Mapping[str, str] | None = None,
) -> Path:
    """Train encoder and head on `training.workers` workers on nodes with these labels; the encoder of the least
    validation loss goes to `out`.

    Each step takes `batch_windows` windows of training documents, in a seeded order, shared out over the workers;
    gradients are averaged. Without validation documents the last step counts. Raises UserError when no worker is
    configured or training fails.
    """
    if not cfg.training.workers:
        raise UserError("annotator.training.workers: 0; fine-tuning needs a Ray Train worker, set it to 1")
    work.mkdir(parents=True, exist_ok=True)
    weights = np.zeros(len(documents.good))
    for part in (documents.training, documents.validation):
        if part.any():
            weights[part] = balanced(documents.target[part], np.ones(part.sum()), cfg.task) * part.sum()
    np.savez(
        work / "windows.npz",
        tokens=windows.tokens,
        offsets=windows.offsets,
        target=documents.target[windows.document],
        weight=(weights / np.maximum(windows.counts(), 1))[windows.document],
        training=documents.training[windows.document],
        validation=documents.validation[windows.document],
    )
    head.save(work, {})
    config = {"work": str(work), "config": cfg.model_dump(mode="json")}
    run_on_ray(_worker, config, cfg.training, work / "finetune", labels)
    tuned = work / "encoder"
    for name in _TOKENIZER:
        shutil.copyfile(resolve_encoder(cfg.encoder.path) / name, tuned / name)
    shutil.rmtree(out, ignore_errors=True)
    shutil.move(tuned, out)
    return out.resolve()


def _worker(config: dict[str, Any]) -> None:
    import ray.train
    import torch
    import torch.distributed as distributed

    cfg = AnnotatorConfig.model_validate(config["config"])
    training, tune, work = cfg.training, cfg.training.finetune, Path(config["work"])
    context = ray.train.get_context()
    rank, world = context.get_world_rank(), context.get_world_size()
    torch.set_num_threads(max(1, int(training.cpus_per_worker)))
    torch.manual_seed(cfg.seed)
    device = torch.device("cuda" if training.use_gpu else "cpu")
    model = _Annotator(cfg, Head.load(work)[0]).to(device)
    data = dict(np.load(work / "windows.npz"))
    train, held = np.flatnonzero(data["training"]), np.flatnonzero(data["validation"])
    optimizer = torch.optim.AdamW(
        [
            {"params": model.encoder.parameters(), "lr": tune.lr},
            {"params": model.linear.parameters(), "lr": tune.head_lr},
        ]
    )
    steps = tune.epochs * -(-len(train) // tune.batch_windows)
    rising = max(1, round(tune.warmup * steps))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / rising, (steps - step) / max(1, steps - rising))
    )

    def shared(tensor: torch.Tensor) -> torch.Tensor:
        if world > 1:
            distributed.all_reduce(tensor)
        return tensor

    def loss(rows: np.ndarray) -> torch.Tensor:
        """Weighted sum over this worker's part of the rows."""
        mine = rows[rank::world]
        if not len(mine):
            return torch.zeros((), device=device)
        ids, mask = _padded(data, mine, device)
        target, weight = (torch.from_numpy(data[name][mine]).to(device) for name in ("target", "weight"))
        return model.loss(ids, mask, target.float(), weight.float(), cfg.task)

    def validation() -> float:
        model.eval()
        with torch.inference_mode():
            total = sum(
                float(loss(held[start : start + tune.batch_windows]))
                for start in range(0, len(held), tune.batch_windows)
            )
        model.train()
        return float(shared(torch.tensor([total])))

    rng = np.random.default_rng(cfg.seed)
    best, waited, step = (validation() if len(held) else float("inf")), 0, 0
    if rank == 0:
        model.encoder.save_pretrained(work / "encoder")
    model.train()
    for _ in range(tune.epochs):
        order = rng.permutation(train)
        for start in range(0, len(order), tune.batch_windows):
            rows = order[start : start + tune.batch_windows]
            optimizer.zero_grad()
            value = loss(rows) / len(rows)
            if value.requires_grad:
                value.backward()
            for parameter in model.parameters():
                if parameter.grad is None:
                    parameter.grad = torch.zeros_like(parameter)
                shared(parameter.grad)
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            step += 1
            if len(held) and (step % training.check_every == 0 or step == steps):
                found = validation()
                waited += 1
                if found < best:
                    best, waited = found, 0
                    if rank == 0:
                        model.encoder.save_pretrained(work / "encoder")
                if waited >= training.patience:
                    break
        if waited >= training.patience:
            break
    if rank == 0 and not len(held):
        model.encoder.save_pretrained(work / "encoder")
    ray.train.report({"steps": step})


def _padded(
    data: dict[str, np.ndarray], rows: np.ndarray, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    import torch

    start, stop = data["offsets"][rows], data["offsets"][rows + 1]
    column = np.arange((stop - start).max())
    mask = column < (stop - start)[:, None]
    ids = np.where(mask, data["tokens"][np.where(mask, start[:, None] + column, 0)], 0).astype(np.int64)
    return torch.from_numpy(ids).to(device), torch.from_numpy(mask.astype(np.int64)).to(device)


def _Annotator(cfg: AnnotatorConfig, head: Head):
    """The encoder with its pooling and a linear head, as a torch module."""
    import torch
    from transformers import AutoConfig, AutoModel

    class Annotator(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            directory = resolve_encoder(cfg.encoder.path)
            config = AutoConfig.from_pretrained(directory, local_files_only=True)
            pooler = {"add_pooling_layer": False} if "bert" in config.model_type else {}
            self.encoder = AutoModel.from_pretrained(
                directory, dtype=torch.float32, local_files_only=True, **pooler
            )
            outputs, dimensions = head.linear.weight.shape
            self.linear = torch.nn.Linear(dimensions, outputs)
            with torch.no_grad():
                self.linear.weight.copy_(torch.from_numpy(head.linear.weight))
                self.linear.bias.copy_(torch.from_numpy(head.linear.bias))

        def loss(
            self, ids: torch.Tensor, mask: torch.Tensor, target: torch.Tensor, weight: torch.Tensor, task: str
        ) -> torch.Tensor:
            states = self.encoder(input_ids=ids, attention_mask=mask).last_hidden_state
            if cfg.encoder.pooling == "cls":
                pooled = states[:, 0]
            else:
                share = mask.unsqueeze(-1).float()
                pooled = (states * share).sum(1) / share.sum(1)
            value = self.linear(torch.nn.functional.normalize(pooled, dim=-1))
            if task == "regression":
                each = (value - target).square()
            else:
                each = torch.nn.functional.binary_cross_entropy_with_logits(value, target, reduction="none")
            return (each * weight[:, None]).sum()

    return Annotator()
