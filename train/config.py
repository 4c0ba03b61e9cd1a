"""Typed configuration of training. Values are the paper's where it has them; what it leaves out is marked."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from snowcoder.base import Config
from train.accounts import Accounts
from train.storage import Storage


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


class TrackConfig(Config):
    """Who is told each step's figures beside `metrics.jsonl`, the console and Ray's metrics."""

    tensorboard: bool = False
    """Event files in RUN/train/PHASE/tensorboard; needs the package tensorboard."""
    wandb_project: str = ""
    """Project of Weights & Biases; empty: none. Needs the package wandb and WANDB_API_KEY on the workers."""


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
    """Data-parallel workers. Must divide `global_batch`. `[min, max]` in a recipe: as many as the cluster has room
    for, of those numbers between that divide the batch; the batch in tokens stays the same."""
    min_workers: int | None = Field(None, gt=0)
    """Fewest workers to go on with when nodes are lost; None: `num_workers`."""
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
    compile: bool = False
    """`torch.compile` on the model. Not with ZeRO 3, whose hooks gather parameters between the traced parts; on a CPU
    it needs a C++ compiler."""
    offload: Literal["none", "optimizer", "parameters"] = "none"
    """What lies in the host's memory instead of the GPU's: optimizer state (ZeRO 1 to 3), or parameters too (ZeRO 3).
    """
    init_from: str = ""
    """Hugging Face directory of a causal language model that the first phase continues from (StarCoder2, SmolLM2,
    Qwen); its shape then comes from there, and `tokenizer.path` must be its own. Empty: fresh weights."""
    carry_optimizer: bool = False
    """Later phases go on with Adam's moments and the fp32 weights of the phase before; else with its exported model and
    fresh moments. The paper re-warms the learning rate and says nothing of the moments (ours: fresh)."""
    track: TrackConfig = TrackConfig()

    group: int = Field(8, gt=0)
    """Global batches dealt at once: the stream has one block per worker and group (`train.deal`)."""
    prefetch_steps: int = Field(2, ge=0)
    """Steps of rows fetched ahead of the optimizer on each worker."""

    checkpoint_every_steps: int = Field(500, gt=0)
    """Steps between checkpoints. A crash loses what came after the last one that is up: at most two intervals."""
    keep_checkpoints: int = Field(2, gt=0)
    """Committed checkpoints kept on storage."""
    checkpoint_storage: str = ""
    """Path or URI (s3://, gs://) under which checkpoints go, by phase; empty: the run directory."""
    async_checkpoints: bool = True
    """Upload while training goes on. A checkpoint counts once all of it is up, in both cases."""
    storage_patience_seconds: float = Field(600.0, ge=0)
    """How long a store that does not answer is asked again before a worker gives up."""
    segment_steps: int = Field(10_000, gt=0)
    """Steps after which stream and workers start anew at a checkpoint, so that nothing grows for weeks: Ray keeps
    some 2.5 kB per block of a stream for the stream's life."""
    max_failures: int = Field(3, ge=0)
    """Failures in a row, without a new checkpoint between them, before the phase gives up."""
    max_bad_steps: int = Field(3, ge=0)
    """Global batches with a loss or gradient that is not finite: each is skipped, after going back to the last
    checkpoint, and recorded. One more than this ends the phase."""
    collective_timeout_seconds: float = Field(600.0, gt=0)
    """How long a rank waits for the others before it fails, and with it the attempt."""
    stall_seconds: float = Field(1800.0, gt=0)
    """How long a worker may make no step for whatever reason, judging the first shards included, before it ends itself,
    and with it the attempt. What its threads were doing is then in `stalled-rank*.txt`."""
    wait_for_nodes_seconds: float = Field(60.0, ge=0)
    """How long a start waits for resources that the cluster lacks, before it says what is missing; and how long workers
    that make no step wait once the cluster has lost what they need."""
    worker_labels: dict[str, str] = {}
    """Ray node labels of the nodes that workers may be on; none: any. Set by `ray.labels.training`."""
    stream_labels: dict[str, str] = {}
    """The same for the stream, as far as Ray Data places it by itself. Set by `ray.labels.curation`."""
    resize_every_seconds: float = Field(60.0, gt=0)
    """How often an elastic phase looks whether more workers would fit; it moves at the next checkpoint."""
    progress_every_seconds: float = Field(30.0, gt=0)
    """Seconds between progress lines of rank 0."""
    seed: int = 0
    """Seeds the initial weights. Training itself draws nothing at random."""

    @model_validator(mode="before")
    @classmethod
    def _range_of_workers(cls, raw: Any) -> Any:
        """`num_workers: [min, max]` is `min_workers: min, num_workers: max`."""
        if isinstance(raw, dict) and isinstance(raw.get("num_workers"), list | tuple):
            if len(raw["num_workers"]) != 2:
                raise ValueError("train.num_workers is a number or [min, max]")
            least, most = raw["num_workers"]
            return raw | {"min_workers": least, "num_workers": most}
        return raw

    @model_validator(mode="after")
    def _batch_divides(self) -> Self:
        if self.min_workers is not None and self.min_workers > self.num_workers:
            raise ValueError(
                f"train.num_workers: at least {self.min_workers} and at most {self.num_workers} are none"
            )
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
        if self.compile and self.zero_stage == 3:
            raise ValueError("train.compile does not work with train.zero_stage 3; turn one of them off")
        if self.offload == "optimizer" and self.zero_stage == 0:
            raise ValueError("train.offload optimizer needs train.zero_stage 1, 2 or 3")
        if self.offload == "parameters" and self.zero_stage != 3:
            raise ValueError("train.offload parameters needs train.zero_stage 3")
        if self.seq_len > self.model.context:
            raise ValueError(
                f"train.seq_len {self.seq_len} is longer than model.context {self.model.context}"
            )
        return self

    @property
    def worker_counts(self) -> list[int]:
        """The numbers of workers that may train, largest first: those that divide the global batch evenly."""
        least = self.min_workers or self.num_workers
        return [
            workers
            for workers in range(self.num_workers, least - 1, -1)
            if self.global_batch % workers == 0 and self.global_batch // workers % self.micro_batch == 0
        ]

    @property
    def rows_per_step(self) -> int:
        """Sequences one worker has of each global batch."""
        return self.global_batch // self.num_workers

    @property
    def tokens_per_step(self) -> int:
        """Token positions of one global batch, padding included."""
        return self.global_batch * self.seq_len


@dataclass(frozen=True, slots=True, kw_only=True)
class Carried:
    """The phase before, whose whole state this one starts from."""

    storage: Storage
    checkpoint: str
    world_size: int  # workers that wrote it


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One attempt at a phase of a run, as every worker sees it."""

    cfg: TrainConfig  # with the number of workers of this attempt
    phase: str
    phase_dir: Path  # on storage that all nodes share
    storage: Storage  # of the checkpoints
    total_steps: int  # of the phase: what the schedule counts in
    stop: int  # step before which this attempt ends
    fingerprint: dict[str, str]  # of the order that positions count in: what decides it, by name
    owner: str = ""  # name of this attempt; it commits as long as no other one has taken over
    init_from: Path | None  # HF directory whose weights the phase starts from; None: fresh weights
    carried: Carried | None = None  # instead of `init_from`, with optimizer state
    accounts: Accounts = field(default_factory=Accounts)
    validate_every: int = 0  # checkpoints between validations; 0: none
