"""What a run will take before it is started: steps, time, memory, disk, and which part is the bottleneck.

Pure arithmetic on plain numbers. Every number that goes in carries where it comes from, so a reader of the
table (`plan_table.py`) can tell the paper's figures from measured ones and from assumptions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from snowcoder.base import UserError
from train.throughput import DENSE_BF16_PEAK


def _given(default: Any, source: str) -> Any:
    return field(default=default, metadata={"source": source})


@dataclass(frozen=True, kw_only=True)
class PlanInput:
    """The numbers a plan is computed from; the defaults are the paper's run. Speeds are per second.

    `sources` says where a changed value comes from; without it a changed value counts as "configuration".
    """

    # Data
    unique_tokens: dict[str, float] = field(
        default_factory=lambda: {"general": 400e9, "continued": 12.5e9, "enhanced": 2e9},
        metadata={"source": "paper §2.1, §2.3, §2.4"},
    )
    tokens: dict[str, float] = field(
        default_factory=lambda: {"general": 500e9, "continued": 50e9, "enhanced": 5e9},
        metadata={"source": "paper §2.2, §2.3, §2.4"},
    )
    languages: int = _given(18, "paper §2.1")
    raw_bytes: float = _given(2.8e12, "assumed: unique tokens x bytes per token / kept fraction")
    kept_fraction: float = _given(0.5, "assumed: the SantaCoder run kept 53 % of its Java files")
    bytes_per_token: float = _given(3.5, "assumed: code, vocabulary of 64,000")
    mean_document_bytes: float = _given(6_000.0, "assumed")
    # Model and batch
    hidden: int = _given(2048, "paper table 1")
    ffn_hidden: int = _given(5632, "paper table 1")
    layers: int = _given(24, "paper table 1")
    heads: int = _given(16, "paper table 1")
    kv_heads: int = _given(16, "paper table 1")
    vocab: int = _given(64_000, "paper table 1")
    tied_embeddings: bool = _given(True, "paper §2")
    seq_len: int = _given(8192, "paper §2.2; the same for later phases is assumed")
    global_batch: int = _given(512, "paper §2.2; the same for later phases is assumed")
    micro_batch: int = _given(2, "configuration default")
    # Machines
    gpu: str = _given("NVIDIA H100 80GB HBM3", "assumed")
    train_gpus: int = _given(32, "assumed")
    mfu: float = _given(0.40, "assumed: published runs of 1.3 B models reach 38-42 % on H100")
    train_tokens_per_second: float = _given(0.0, "not measured: from peak and MFU")  # per GPU, replaces both
    dollars_per_gpu_hour: float = _given(3.0, "assumed; prices of clouds differ by more than twice")
    gpu_memory_bytes: float = _given(80e9, "data sheet")
    annotator_gpus: int = _given(8, "assumed")
    annotator_documents_per_second: float = _given(500.0, "assumed: per GPU, three windows of 512 tokens")
    generator_gpus: int = _given(16, "assumed")
    generator_tokens_per_second: float = _given(600.0, "assumed: per GPU, 70 B model")
    generator_accepted: float = _given(0.7, "assumed: share of generated tokens that pass verification")
    cpu_cores: int = _given(256, "assumed")
    kernel_mb_per_second: dict[str, float] = field(
        default_factory=lambda: {
            "read": 370.0,
            "rules": 430.0,
            "decontaminate": 350.0,
            "minhash": 340.0,
            "tokenise": 4.0,
        },
        metadata={"source": "measured on one core: benchmarks/*.md; read: local files; tokenise assumed"},
    )
    # Stores
    shard_bytes: float = _given(48 * 2**20, "configuration default")
    best_fit: bool = _given(False, "configuration default")
    interleaved_shards: int = _given(64, "configuration default")
    dedup_bands: int = _given(16, "configuration default")
    dedup_bins: int = _given(128, "configuration default: one byte each, kept documents only")
    dedup_load: float = _given(0.7, "pipelines/kernels/owner_table.py")
    verdict_bytes_per_document: float = _given(60.0, "assumed: all stages, compressed")
    checkpoints_kept: int = _given(2, "configuration default")
    sources: Mapping[str, str] = field(default_factory=dict)

    def source(self, name: str) -> str:
        """Where the value of a field comes from."""
        if name in self.sources or getattr(self, name) != getattr(PAPER, name):
            return self.sources.get(name, "configuration")
        return str(type(self).__dataclass_fields__[name].metadata["source"])


_MAY_BE_ZERO = ("sources", "best_fit", "tied_embeddings", "train_tokens_per_second", "dollars_per_gpu_hour")
PAPER = PlanInput()
"""The paper's run."""


class Parameters(NamedTuple):
    """Parameters of a Llama-style model: all, and those outside the embedding."""

    total: int
    non_embedding: int


@dataclass(frozen=True)
class PhasePlan:
    """One phase. Hours are at the assumed MFU; supplies are in training tokens per second."""

    name: str
    tokens: float
    steps: int  # whole global batches; the tail of the order is not trained on
    epochs: float
    flops: float  # 6ND and attention
    hours: float
    gpu_hours: float
    dollars: float  # of the training GPUs alone
    cpu_cores: float  # to keep the stream ahead of training, first epoch
    supply: dict[str, float]  # what each part can deliver: train, cpu, and annotator or generator
    bottleneck: str


@dataclass(frozen=True)
class Plan:
    """The computed figures. Memory in bytes per GPU by ZeRO stage; the rest is for the whole run."""

    given: PlanInput
    parameters: Parameters
    phases: tuple[PhasePlan, ...]
    flops_6nd: float
    gpu_hours_6nd: float
    state_bytes: dict[int, float]
    activation_bytes: float
    documents: float
    dedup_bytes: dict[str, float]
    ledger_bytes: float
    window_bytes: float
    checkpoint_bytes: float
    annotator_hours: float
    generator_hours: float
    warnings: tuple[str, ...] = ()


def parameters(given: PlanInput) -> Parameters:
    """Tied or untied embedding; per layer q, k, v, o, three SwiGLU matrices and two norms; final norm."""
    head_dim = given.hidden // given.heads
    attention = 2 * given.hidden * head_dim * (given.heads + given.kv_heads)
    layer = attention + 3 * given.hidden * given.ffn_hidden + 2 * given.hidden
    inner = given.layers * layer + given.hidden
    return Parameters(inner + given.vocab * given.hidden * (1 if given.tied_embeddings else 2), inner)


def flops_per_token(given: PlanInput) -> tuple[float, float]:
    """(6N, causal attention) for forward and backward, as `train.model.flops_per_token` counts them.

    N are the weights that multiply: not an untied input embedding. A document mask makes attention cheaper.
    """
    looked_up = 0 if given.tied_embeddings else given.vocab * given.hidden
    return 6.0 * (parameters(given).total - looked_up), 6.0 * given.layers * given.hidden * given.seq_len


def steps(tokens: float, given: PlanInput) -> int:
    """Whole global batches in a phase's tokens: 119,209 for the paper's 500 B at 4.19 M a batch."""
    return int(tokens // (given.global_batch * given.seq_len))


def zero_bytes_per_gpu(given: PlanInput) -> dict[int, float]:
    """Weights, gradients and Adam state per GPU by ZeRO stage (Rajbhandari et al. 2020, section 3).

    bf16 weights 2, bf16 gradients 2 with an fp32 accumulator 4, fp32 master weights and two moments 12 bytes.
    """
    n, d = parameters(given).total, given.train_gpus
    weights, gradients, optimizer = 2.0 * n, 6.0 * n, 12.0 * n
    return {
        0: weights + gradients + optimizer,
        1: weights + gradients + optimizer / d,
        2: weights + (gradients + optimizer) / d,
        3: (weights + gradients + optimizer) / d,
    }


def padding_share(given: PlanInput) -> float | None:
    """Share of the rows' positions that hold no text. Concatenation leaves half a row a shard on average; of best fit
    it is known only once documents are tokenised (None), and then stands in the ledger and the model card."""
    if given.best_fit:
        return None
    shard_tokens = given.shard_bytes * given.kept_fraction / given.bytes_per_token
    return given.seq_len / 2 / (shard_tokens + given.seq_len / 2)


def activation_bytes_per_gpu(given: PlanInput) -> float:
    """34 s b h per layer (Korthikanti et al. 2022, without the attention matrix) and fp32 + bf16 logits."""
    rows = given.seq_len * given.micro_batch
    return 34.0 * rows * given.hidden * given.layers + 10.0 * rows * given.vocab


def dedup_bytes(given: PlanInput) -> dict[str, float]:
    """The duplicate index over kept documents, at its last rehash: a quarter more than the tables at rest.

    A slot is 16 bytes a band, 24 for the exact key of 128 bits, 16 for the place of the signature.
    """
    kept = given.raw_bytes / given.mean_document_bytes * given.kept_fraction
    spare = 1.25 / given.dedup_load
    return {
        "band tables": kept * given.dedup_bands * 16 * spare,
        "exact keys": kept * (24 + 16) * spare,
        "signatures": kept * given.dedup_bins,
    }


def sustained_flops(given: PlanInput) -> float:
    """FLOP/s of one GPU: measured training speed if there is one, else peak times MFU. Raises UserError."""
    if given.train_tokens_per_second:
        return given.train_tokens_per_second * sum(flops_per_token(given))
    if given.gpu not in DENSE_BF16_PEAK:
        known = ", ".join(DENSE_BF16_PEAK)
        raise UserError(
            f"plan: gpu {given.gpu!r} has no known dense bf16 peak; give one of {known}, or a measured speed"
        )
    return DENSE_BF16_PEAK[given.gpu] * given.mfu


def make_plan(given: PlanInput) -> Plan:
    """All of it. Raises UserError for an unknown GPU, a missing phase, or a number not above zero."""
    for name in PlanInput.__dataclass_fields__:
        value = getattr(given, name)
        low = min(value.values(), default=0.0) if isinstance(value, dict) else value
        if isinstance(low, int | float) and low <= 0 and name not in _MAY_BE_ZERO:
            raise UserError(f"plan: {name} is {value}; it must be above zero")
    if unknown := set(given.tokens) - set(given.unique_tokens):
        raise UserError(f"plan: unique_tokens has no {', '.join(sorted(unknown))}; give it for every phase")
    documents = given.raw_bytes / given.mean_document_bytes
    kept = documents * given.kept_fraction
    flops_6nd = flops_per_token(given)[0] * sum(given.tokens.values())
    n = parameters(given).total
    window_tokens = given.interleaved_shards * given.shard_bytes * given.kept_fraction / given.bytes_per_token
    synthetic = given.unique_tokens.get("enhanced", 0.0) / given.generator_accepted
    plan = Plan(
        given=given,
        parameters=parameters(given),
        phases=tuple(_phase(name, given) for name in given.tokens),
        flops_6nd=flops_6nd,
        gpu_hours_6nd=flops_6nd / sustained_flops(given) / 3600,
        state_bytes=zero_bytes_per_gpu(given),
        activation_bytes=activation_bytes_per_gpu(given),
        documents=documents,
        dedup_bytes=dedup_bytes(given),
        ledger_bytes=documents * given.verdict_bytes_per_document,
        window_bytes=4 * window_tokens,
        checkpoint_bytes=14.0 * n * given.checkpoints_kept + 2.0 * n * len(given.tokens),
        annotator_hours=kept / (given.annotator_documents_per_second * given.annotator_gpus) / 3600,
        generator_hours=synthetic / (given.generator_tokens_per_second * given.generator_gpus) / 3600,
    )
    return replace(plan, warnings=tuple(_warnings(plan)))


def _phase(name: str, given: PlanInput) -> PhasePlan:
    """Supplies are of the first epoch, when text is judged, scored or generated for the first time.

    General reads a shard twice, to judge it and to train on it; continued replays those verdicts but reads
    everything to score it; enhanced only tokenises what was generated.
    """
    tokens, unique = given.tokens[name], given.unique_tokens[name]
    flops = tokens * sum(flops_per_token(given))
    gpu_seconds = flops / sustained_flops(given)
    rate = tokens / gpu_seconds * given.train_gpus
    cost = {
        kernel: 1e-6 / speed for kernel, speed in given.kernel_mb_per_second.items()
    }  # core seconds a byte
    tokenise = cost.pop("tokenise") * given.bytes_per_token
    per_raw_byte = {"general": cost["read"] + sum(cost.values()), "continued": cost["read"]}.get(name, 0.0)
    core_seconds = per_raw_byte * given.raw_bytes / unique + tokenise  # a training token
    supply = {"training": rate, "cpu": given.cpu_cores / core_seconds}
    if name == "continued":
        documents = given.raw_bytes / given.mean_document_bytes * given.kept_fraction
        scored = given.annotator_documents_per_second * given.annotator_gpus
        supply["annotator"] = scored * unique / documents
    if name == "enhanced":
        generated = given.generator_tokens_per_second * given.generator_gpus
        supply["generator"] = generated * given.generator_accepted
    return PhasePlan(
        name=name,
        tokens=tokens,
        steps=steps(tokens, given),
        epochs=tokens / unique,
        flops=flops,
        hours=gpu_seconds / given.train_gpus / 3600,
        gpu_hours=gpu_seconds / 3600,
        dollars=gpu_seconds / 3600 * given.dollars_per_gpu_hour,
        cpu_cores=rate * core_seconds,
        supply=supply,
        bottleneck=min(supply, key=supply.__getitem__),
    )


def _warnings(plan: Plan) -> Iterator[str]:
    given = plan.given
    for phase in plan.phases:
        if phase.steps == 0:
            yield f"{phase.name}: {phase.tokens:,.0f} tokens are less than one global batch"
        if phase.bottleneck != "training":
            share = phase.supply[phase.bottleneck] / phase.supply["training"]
            yield f"{phase.name}: the {phase.bottleneck} gives {share:.0%} of what training takes in epoch 1"
    if given.global_batch % (given.train_gpus * given.micro_batch):
        yield f"the global batch of {given.global_batch} does not divide over {given.train_gpus} GPUs"
    if plan.ledger_bytes > 0.02 * given.raw_bytes:
        yield f"the ledger takes {plan.ledger_bytes / given.raw_bytes:.1%} of the raw bytes; the limit is 2 %"
    if plan.state_bytes[2] + plan.activation_bytes > given.gpu_memory_bytes:
        yield "ZeRO-2 state and activations do not fit a GPU; lower the micro batch or shard over more GPUs"
    supported = given.raw_bytes * given.kept_fraction / given.bytes_per_token
    if supported < 0.8 * given.unique_tokens.get("general", 0.0):
        yield f"the raw bytes hold {supported:.2e} tokens after filtering, fewer than the unique tokens given"
