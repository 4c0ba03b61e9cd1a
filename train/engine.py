"""DeepSpeed behind a typed configuration, and one optimizer step over one global batch."""

from __future__ import annotations

import logging
import math
import os
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import numpy as np

from train.accounts import Accounts
from train.config import TrainConfig

if TYPE_CHECKING:
    import torch

IGNORED = -100  # target that cross entropy leaves out


@dataclass(frozen=True, slots=True)
class Rows:
    """One rank's rows of a global batch."""

    tokens: np.ndarray  # int32[rows, seq_len]
    loss_tokens: np.ndarray  # int32[rows]: text at the front of the row, padding after it
    boundaries: list[np.ndarray]  # per row, where each training document starts
    languages: list[np.ndarray] | None = None  # per row, a number for each training document in it
    shards: np.ndarray | None = None  # int[rows]


@dataclass(frozen=True, slots=True)
class StepResult:
    """What one optimizer step gave, the same on every rank."""

    loss: float  # nats a predicted token, over the global batch
    grad_norm: float | None  # before clipping; None where DeepSpeed does not compute one (stage 0 in fp32)
    loss_tokens: int  # predicted tokens of the global batch
    votes: tuple[int, ...] = ()  # summed over the ranks
    sums: np.ndarray | None = None  # float64[2, accounts]: loss and predicted tokens of each account

    @property
    def finite(self) -> bool:
        return math.isfinite(self.loss) and math.isfinite(self.grad_norm or 0.0)


def prepare_process(cfg: TrainConfig) -> None:
    """Settings that must come before DeepSpeed is imported and the model is built; once per process."""
    if not cfg.use_gpu:
        os.environ["DS_ACCELERATOR"] = "cpu"
    import torch

    logging.getLogger("DeepSpeed").setLevel(logging.WARNING)
    torch.manual_seed(cfg.seed)
    if not cfg.use_gpu:
        # The sum of a parallel reduction depends on how it was cut: the thread count belongs to the result.
        torch.set_num_threads(cfg.cpus_per_worker)


def deepspeed_config(cfg: TrainConfig, load_universal: bool = False) -> dict[str, Any]:
    """DeepSpeed's configuration, derived from ours. Schedule and optimizer are not in it: those are ours."""
    config: dict[str, Any] = {
        "train_micro_batch_size_per_gpu": cfg.micro_batch,
        "gradient_accumulation_steps": cfg.rows_per_step // cfg.micro_batch,
        "gradient_clipping": cfg.optimizer.clip,
        "zero_optimization": {"stage": cfg.zero_stage, **_offload(cfg)},
        "steps_per_print": 1 << 60,
    }
    if cfg.precision == "bf16":
        config["bf16"] = {"enabled": True}
        # DeepSpeed's default sums micro-batches in the model's type: bf16 loses small gradients.
        config["data_types"] = {"grad_accum_dtype": "fp32"}
    if load_universal:
        config["checkpoint"] = {"load_universal": True}
    return config


def _offload(cfg: TrainConfig) -> dict[str, Any]:
    host = {"device": "cpu", "pin_memory": cfg.use_gpu}
    config: dict[str, Any] = {}
    if cfg.offload != "none":
        config["offload_optimizer"] = host
    if cfg.offload == "parameters":
        config["offload_param"] = host
    return config


def start_engine(model: torch.nn.Module, cfg: TrainConfig, load_universal: bool = False) -> Any:
    """Wrap the model in a DeepSpeed engine. The process group must exist; collective over all ranks."""
    import deepspeed
    import torch

    if not cfg.use_gpu:
        # Shared-memory collectives would be compiled at first use: minutes, and only with a compiler there.
        deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    if cfg.recompute_activations:
        model.gradient_checkpointing_enable()
    model.train()

    settings = cfg.optimizer
    trained = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim >= 2], "weight_decay": settings.weight_decay},
        {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
    ]
    betas = (settings.beta1, settings.beta2)
    config = deepspeed_config(cfg, load_universal)
    if cfg.offload != "none" and cfg.use_gpu:
        # State in the host's memory is updated there; DeepSpeed's vectorised AdamW for that is compiled at first use.
        from deepspeed.ops.adam import DeepSpeedCPUAdam

        optimizer = DeepSpeedCPUAdam(groups, lr=0.0, betas=betas, eps=settings.eps, adamw_mode=True)
    else:
        # torch's AdamW, not DeepSpeed's: the latter is compiled at first use, and torch has a fused one for GPUs.
        optimizer = torch.optim.AdamW(groups, lr=0.0, betas=betas, eps=settings.eps, fused=cfg.use_gpu)
        config["zero_force_ds_cpu_optimizer"] = False
    engine, _, _, _ = deepspeed.initialize(model=model, optimizer=optimizer, config=config)
    if cfg.compile:
        engine.compile()
    return engine


def limit_waiting(seconds: float) -> None:
    """How long a collective of any group waits for the others. DeepSpeed's groups know only torch's 30 minutes."""
    from torch.distributed import distributed_c10d as c10d

    for group in c10d._world.pg_map:  # no public way; the setter is what torch itself documents for it
        c10d._set_pg_timeout(timedelta(seconds=seconds), group)


def targets(
    tokens: np.ndarray, loss_tokens: np.ndarray, boundaries: list[np.ndarray] | None = None
) -> np.ndarray:
    """Next-token targets, int64[rows, seq_len]: j predicts token j+1 where that is text, else IGNORED.

    With `boundaries`, the first token of a document is predicted by nobody: what stands before it is hidden.
    """
    rows, seq_len = tokens.shape
    shifted = np.full((rows, seq_len), IGNORED, dtype=np.int64)
    shifted[:, :-1] = tokens[:, 1:]
    shifted[np.arange(seq_len) + 1 >= loss_tokens[:, None]] = IGNORED
    for row, starts in enumerate(boundaries or ()):
        shifted[row, starts[starts > 0] - 1] = IGNORED
    return shifted


def document_positions(boundaries: list[np.ndarray], seq_len: int) -> np.ndarray:
    """int64[rows, seq_len]: place of each token in its own document; `transformers` masks by the restarts."""
    positions = np.tile(np.arange(seq_len, dtype=np.int64), (len(boundaries), 1))
    for row, starts in enumerate(boundaries):
        begin = np.zeros(seq_len, dtype=np.int64)
        begin[starts] = starts
        positions[row] -= np.maximum.accumulate(begin)
    return positions


def train_step(
    engine: Any,
    rows: Rows,
    lr: float,
    cfg: TrainConfig,
    votes: tuple[int, ...] = (),
    accounts: Accounts | None = None,
) -> StepResult:
    """Forward, backward and update on one global batch, of which `rows` are this rank's. Collective.

    `votes` are summed over the ranks on the way, for what they must agree on. With `accounts`, the loss of each is
    counted too, where the rows say what they hold.

    The loss is the sum over all predicted tokens of the *global* batch divided by their number. Means of
    means over ranks and micro-batches would weigh a token by how much padding its neighbours have.
    """
    import torch
    import torch.distributed as dist
    import torch.nn.functional as F

    wanted = targets(rows.tokens, rows.loss_tokens, rows.boundaries if cfg.document_mask else None)
    kinds = _accounts_of(rows, accounts, cfg.seq_len)
    count = torch.tensor(
        [np.count_nonzero(wanted != IGNORED), *votes], dtype=torch.int64, device=engine.device
    )
    dist.all_reduce(count)
    loss_tokens, *votes_summed = count.tolist()
    predicted = max(loss_tokens, 1)
    # DeepSpeed averages gradients over ranks; we want their sum, hence the factor.
    scale = dist.get_world_size() / predicted

    for group in engine.optimizer.param_groups:
        group["lr"] = lr
    counted = accounts.count if accounts and kinds is not None else 0
    # The loss of the batch, then loss and tokens of each account: one all-reduce for all of them.
    total = torch.zeros(1 + 2 * counted, dtype=torch.float64, device=engine.device)
    for start in range(0, len(rows.tokens), cfg.micro_batch):
        part = slice(start, start + cfg.micro_batch)
        inputs = {"input_ids": _tensor(rows.tokens[part], engine)}
        if cfg.document_mask:
            inputs["position_ids"] = _tensor(document_positions(rows.boundaries[part], cfg.seq_len), engine)
        logits = engine(**inputs).logits
        labels = _tensor(wanted[part], engine).flatten()
        losses = F.cross_entropy(logits.float().flatten(0, 1), labels, ignore_index=IGNORED, reduction="none")
        loss = losses.sum()
        total[0] += loss.detach().double()
        if kinds is not None:
            kind = _tensor(kinds[part], engine).flatten()
            total[1 : 1 + counted].index_add_(0, kind, losses.detach().double())
            total[1 + counted :].index_add_(0, kind, (labels != IGNORED).double())
        engine.backward(loss * scale, scale_wrt_gas=False)
        engine.step()

    dist.all_reduce(total)
    norm = engine.get_global_grad_norm()
    return StepResult(
        float(total[0].item()) / predicted,
        None if norm is None else float(norm),
        loss_tokens,
        tuple(votes_summed),
        total[1:].reshape(2, counted).cpu().numpy() if counted else None,
    )


def _accounts_of(rows: Rows, accounts: Accounts | None, seq_len: int) -> np.ndarray | None:
    """int64[rows, seq_len], or None where nothing is counted apart."""
    if not accounts or not accounts.count or rows.languages is None or rows.shards is None:
        return None
    return accounts.of_tokens(rows.languages, rows.boundaries, rows.shards, seq_len)


def _tensor(array: np.ndarray, engine: Any) -> torch.Tensor:
    import torch

    return torch.from_numpy(array.astype(np.int64)).to(engine.device)
