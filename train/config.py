"""Typed configuration of training. Values are the paper's where it has them; what it leaves out is marked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from snowcoder.base import Config


class ModelConfig(Config):
    """A Llama-2 style decoder; the defaults are the paper's 1.3B model (Table 1)."""

    layers: int = Field(24, gt=0)
    """Decoder blocks."""
    hidden: int = Field(2048, gt=0)
    """Width of the residual stream."""
    ffn: int = Field(5632, gt=0)
    """Inner width of the SwiGLU feed-forward block."""
    heads: int = Field(16, gt=0)
    """Attention heads. The paper has as many key/value heads: full multi-head attention."""
    kv_heads: int | None = Field(None, gt=0)
    """Key/value heads; None: as many as `heads`."""
    vocab: int = Field(64_000, gt=0)
    """Size of the vocabulary."""
    context: int = Field(8192, gt=0)
    """Longest sequence the positions are meant for, in tokens."""
    tie_embeddings: bool = True
    """Input and output embeddings are one matrix."""
    rope_theta: float = Field(10_000.0, gt=0)
    """Base of the rotary positions. Ours: Llama 2's; the paper gives none."""
    norm_eps: float = Field(1e-5, gt=0)
    """Epsilon of RMSNorm. Ours: Llama 2's; the paper gives none."""
    init_std: float = Field(0.02, gt=0)
    """Standard deviation of the initial weights. Ours; the paper gives none."""

    @model_validator(mode="after")
    def _shapes_fit(self) -> Self:
        if self.hidden % self.heads or (self.hidden // self.heads) % 2:
            raise ValueError(
                f"model.hidden {self.hidden} / model.heads {self.heads} must be an even head size"
            )
        if self.heads % (self.kv_heads or self.heads):
            raise ValueError(f"model.heads {self.heads} must be a multiple of model.kv_heads {self.kv_heads}")
        return self


class ScheduleConfig(Config):
    """Learning rate by tokens consumed (`train.schedules`). Defaults: the paper's phase 1."""

    kind: Literal["cosine", "linear", "constant", "wsd"] = "cosine"
    """Shape after the warm-up. Phase 1: cosine; phase 2: linear with a re-warm-up (sections 2.2, 2.3)."""
    peak_lr: float = Field(5.3e-4, gt=0)
    """Learning rate at the end of the warm-up. The paper's in both phases."""
    end_lr: float = Field(5.3e-5, ge=0)
    """Learning rate at the last token. The paper: 5.3e-5 in phase 1, 0 in phase 2."""
    warmup_tokens: int = Field(600 * 512 * 8192, ge=0)
    """Tokens of the linear rise from 0. The paper: 600 iterations in phase 1, 1000 in phase 2."""
    decay_tokens: int = Field(0, ge=0)
    """Only `wsd`: tokens of the linear fall to `end_lr` at the end of the run."""


class OptimizerConfig(Config):
    """AdamW. The paper only says "Adam": betas and decay are ours, after DeepSeek-Coder and Llama 2."""

    beta1: float = Field(0.9, gt=0, lt=1)
    beta2: float = Field(0.95, gt=0, lt=1)
    eps: float = Field(1e-8, gt=0)
    weight_decay: float = Field(0.1, ge=0)
    """On matrices only; norms are not decayed."""
    clip: float = Field(1.0, ge=0)
    """Largest norm of the global gradient; 0 turns clipping off."""


class TrainConfig(Config):
    """Everything one phase of training needs beside its data."""

    model: ModelConfig = ModelConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    optimizer: OptimizerConfig = OptimizerConfig()

    seq_len: int = Field(8192, gt=1)
    """Tokens of one packed row. The paper's phase 1: 8192."""
    global_batch: int = Field(512, gt=0)
    """Sequences of one optimizer step over all workers. The paper's phase 1: 512, that is 4.19M tokens."""
    micro_batch: int = Field(2, gt=0)
    """Sequences of one forward pass: memory and speed only. The logits alone are 2.1 GB each at 8192."""
    document_mask: bool = False
    """Tokens see only their own document. The paper does not say; False is plain causal attention."""

    num_workers: int = Field(1, gt=0)
    """Data-parallel workers. Must divide `global_batch`."""
    use_gpu: bool = False
    """One GPU per worker; otherwise one CPU per worker and gloo."""
    cpus_per_worker: int = Field(1, gt=0)
    """CPUs reserved for each worker; without GPUs also its number of torch threads."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """bf16: bf16 weights and activations, fp32 gradient accumulation and optimizer state."""
    zero_stage: Literal[0, 1, 2, 3] = 1
    """DeepSpeed ZeRO stage. At 1.3B the state fits a 40 GB card: 3 would only add communication."""
    attention: Literal["sdpa", "eager", "flash_attention_2"] = "sdpa"
    """Attention kernel of `transformers`."""
    recompute_activations: bool = False
    """Recompute each block in the backward pass: less memory, about a third more arithmetic."""

    group: int = Field(8, gt=0)
    """Global batches dealt at once: the stream has one block per worker and group (`train.deal`)."""
    prefetch_steps: int = Field(2, ge=0)
    """Steps of rows fetched ahead of the optimizer on each worker."""

    checkpoint_every_steps: int = Field(500, gt=0)
    """Steps between checkpoints, which is also the most work a crash can lose."""
    keep_checkpoints: int = Field(2, gt=0)
    """Committed checkpoints kept on storage."""
    max_failures: int = Field(3, ge=0)
    """Worker failures survived before the phase gives up."""
    progress_every_seconds: float = Field(30.0, gt=0)
    """Seconds between progress lines of rank 0."""
    seed: int = 0
    """Seeds the initial weights. Training itself draws nothing at random."""

    @model_validator(mode="after")
    def _batch_divides(self) -> Self:
        rows, rest = divmod(self.global_batch, self.num_workers)
        if rest:
            raise ValueError(
                f"train.global_batch {self.global_batch} must be a multiple of "
                f"train.num_workers {self.num_workers}"
            )
        if rows % self.micro_batch:
            raise ValueError(
                f"train.micro_batch {self.micro_batch} must divide the {rows} rows a worker has of each step "
                f"(global_batch {self.global_batch} / num_workers {self.num_workers})"
            )
        if self.precision == "bf16" and self.zero_stage == 0:
            raise ValueError(
                "train.precision bf16 needs train.zero_stage >= 1: stage 0 cannot accumulate in fp32"
            )
        if self.seq_len > self.model.context:
            raise ValueError(
                f"train.seq_len {self.seq_len} is longer than model.context {self.model.context}"
            )
        return self

    @property
    def rows_per_step(self) -> int:
        """Sequences one worker has of each global batch."""
        return self.global_batch // self.num_workers

    @property
    def tokens_per_step(self) -> int:
        """Token positions of one global batch, padding included."""
        return self.global_batch * self.seq_len


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One phase of one run, as every worker sees it."""

    cfg: TrainConfig
    phase: str
    phase_dir: Path  # on storage that all nodes share
    total_steps: int
    fingerprint: str  # of the order that positions count in
    init_from: Path | None  # HF directory whose weights the phase starts from; None: fresh weights
    ray_run: str  # name of the Ray Train run, part of where checkpoints are stored
