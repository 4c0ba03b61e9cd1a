"""A run's whole configuration: the rooms' own parts side by side, from a YAML recipe and `--set` overrides."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field, ValidationError, model_validator

from evaluation.config import EvaluationConfig
from pipelines.annotator.config import AnnotatorConfig, SelectionConfig
from pipelines.dedup.config import DedupConfig
from pipelines.sequences.config import SequencesConfig, TokenizerConfig
from pipelines.sources.config import SourceConfig
from pipelines.stages.chain import StagesConfig
from pipelines.synthesis.config import SynthesisConfig
from snowcoder.base import Config, UserError
from train.config import ScheduleConfig, TrainConfig


class CurationConfig(StagesConfig):
    """Which documents are kept: what the stages that read text ask, and what is a duplicate."""

    dedup: DedupConfig = DedupConfig()
    benchmarks: tuple[str, ...] = (
        "humaneval",
        "humaneval+",
        "mbpp",
        "mbpp+",
        "evoeval",
        "bigcodebench",
        "multipl-e",
    )
    """Benchmarks, or groups of them, whose prompts and solutions must not be in the data."""
    benchmarks_dir: str = ""
    """Where benchmark files lie; empty: the cache, installed packages, then the official download."""
    allow_missing_benchmarks: bool = False
    """Go on without a benchmark that cannot be had, with a line that says so; otherwise the run refuses."""


class GeneralConfig(Config):
    """Phase 1: general pretraining on all kept documents (paper 2.2)."""

    tokens: int = Field(500_000_000_000, gt=0)
    """Token horizon (paper: 500B)."""
    epochs: int = Field(2, ge=1)
    """Most passes over the corpus; the paper's horizon is 1.25 passes over 400B."""
    schedule: ScheduleConfig = ScheduleConfig()


class ContinuedConfig(Config):
    """Phase 2: the annotator's best documents, repeated (paper 2.3)."""

    tokens: int = Field(50_000_000_000, gt=0)
    """Token horizon (paper: 50B)."""
    repeats: int = Field(4, ge=1)
    """Passes over the selected documents (paper Table 6: 4 x 12.5B)."""
    calibration_shards: int | None = Field(None, ge=1)
    """Shards scored to set the thresholds, taken from the front of the seeded order; None: all."""
    selection: SelectionConfig = SelectionConfig()
    """Mix and quotas of the selection; its token budget is tokens / repeats."""
    control: bool = True
    """Also continue on random documents for the same number of tokens, to compare with."""
    schedule: ScheduleConfig = ScheduleConfig(
        peak_lr=5.3e-4, end_lr=0.0, kind="linear", warmup_tokens=1000 * 512 * 8192
    )


class EnhancedConfig(Config):
    """Phase 3: files that an LLM writes from phase 2's best documents (paper 2.4)."""

    tokens: int = Field(5_000_000_000, gt=0)
    """Token horizon (paper: 5B from about 2B unique)."""
    epochs: int | None = Field(None, ge=1)
    """Most passes over the generated files; None: as many as `tokens` take (paper: about 2.5)."""
    seeds: int = Field(2_000_000, ge=1)
    """Seed documents, the highest scores of phase 2's selection (the paper gives no number)."""
    data: Literal["synthetic", "real"] = "synthetic"
    """Generated files (paper), or the best real ones instead, `corpus.synthetic_tokens` of them (an arm of ours)."""
    python_share: float | None = Field(0.5, ge=0, le=1)
    """Share of Python among the seeds, or in the real data; the other languages keep their proportions (paper: about
    50 %). None: the natural mix."""
    start_after: float = Field(1.0, gt=0, le=1)
    """Share of the requests that must be answered before training starts; it then waits on the producer live (ours)."""
    schedule: ScheduleConfig = ScheduleConfig(
        peak_lr=1e-4, end_lr=0.0, kind="linear", warmup_tokens=100 * 512 * 8192
    )
    """The paper publishes none of it: all values of this schedule are ours."""


class ValidationConfig(Config):
    """What is asked of checkpoints while training goes on (bits per byte); off by default."""

    held_out_shards: int = Field(0, ge=0)
    """Shards at the front of the judging order that no phase trains on."""
    documents_per_language: int = Field(64, ge=1)
    """Held-out documents that are asked, by language."""
    document_bytes: int = Field(16_384, ge=64)
    """Of each the first so many bytes."""
    benchmarks: tuple[str, ...] = ()
    """Benchmarks whose reference solutions are asked."""
    every_checkpoints: int = Field(1, ge=1)
    """Checkpoints between validations; the last one of a phase is always asked."""
    cpus: float = Field(1, ge=0)
    """CPUs of the task that asks, beside those of workers and stream; it waits for them, training does not wait for it.
    """
    gpus: float = Field(0, ge=0)


class CostConfig(Config):
    """What `plan` takes a GPU to do and to cost. Assumptions: set your own."""

    gpu: str = "NVIDIA H100 80GB HBM3"
    """Device name, for its dense bf16 peak."""
    mfu: float = Field(0.40, gt=0, le=1)
    """Assumed share of that peak: published runs of 1.3B models reach 38 to 42 % on H100 (docs/training.md)."""
    tokens_per_second: float = Field(0.0, ge=0)
    """Measured training speed of one GPU; replaces the two above. 0: not measured."""
    dollars_per_gpu_hour: float = Field(3.0, ge=0)
    """Assumed; prices of clouds differ by more than twice."""


class LabelsConfig(Config):
    """Ray node labels, by what must run on nodes that carry them all; empty: anywhere. Plain values, no operators.

    With `training` and `curation` apart, Ray Data keeps off the training nodes, and takes none of their memory.
    """

    curation: dict[str, str] = {}
    """The stream's tasks and actors, the duplicate index with them."""
    annotator: dict[str, str] = {}
    """The scoring actors."""
    vllm: dict[str, str] = {}
    """The generator's engines: `ray.io/accelerator-type` alone, as ray.data.llm places engines by no other label."""
    training: dict[str, str] = {}
    """The DeepSpeed workers."""

    @model_validator(mode="after")
    def _engines_go_by_gpu(self) -> LabelsConfig:
        if self.vllm.keys() - {"ray.io/accelerator-type"}:
            raise ValueError(
                "ray.labels.vllm: ray.data.llm knows ray.io/accelerator-type only; leave the others out"
            )
        return self


class RayConfig(Config):
    """How to reach or start Ray, and what the stream's operators ask of it."""

    address: str = ""
    """Address of a running cluster, or "auto"; empty: the cluster of the job, else one started here."""
    num_cpus: int | None = Field(None, ge=1)
    """Logical CPUs of a Ray started here; None: as many as the machine has, at least 4."""
    object_store_bytes: int = Field(512 << 20, ge=80 << 20)
    """Object store of a Ray started here."""
    score_actors: int = Field(1, ge=1)
    score_cpus: float = Field(1, ge=0)
    score_gpus: float = Field(0, ge=0)
    labels: LabelsConfig = LabelsConfig()


class CorpusFacts(Config):
    """What `plan` must be told about a corpus that it does not open. Paper: about 400B unique tokens of code."""

    unique_tokens: int = Field(400_000_000_000, gt=0)
    bytes_per_token: float = Field(3.5, gt=0)
    """Assumed; measured by the tokenizer once it is trained."""
    raw_bytes: int = Field(2_800_000_000_000, gt=0)
    """Bytes before curation. Ours: half of them kept."""
    documents: int = Field(400_000_000, gt=0)
    """Files before curation. Ours: 7 kB each."""
    synthetic_tokens: int = Field(2_000_000_000, gt=0)
    """Unique generated tokens of phase 3 (paper: about 2B)."""


class RunConfig(Config):
    """One run: three phases and their evaluation."""

    name: str = "run"
    seed: int = 0
    source: SourceConfig = SourceConfig()
    curation: CurationConfig = CurationConfig()
    tokenizer: TokenizerConfig = TokenizerConfig()
    sequences: SequencesConfig = SequencesConfig()
    annotator: AnnotatorConfig = AnnotatorConfig()
    synthesis: SynthesisConfig = SynthesisConfig()
    train: TrainConfig = TrainConfig()
    """Model and engine. `seq_len` and `group` are those of `sequences`; the schedules are the phases'."""
    general: GeneralConfig = GeneralConfig()
    continued: ContinuedConfig = ContinuedConfig()
    enhanced: EnhancedConfig = EnhancedConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    validation: ValidationConfig = ValidationConfig()
    ray: RayConfig = RayConfig()
    corpus: CorpusFacts = CorpusFacts()
    cost: CostConfig = CostConfig()

    @model_validator(mode="before")
    @classmethod
    def _one_row_length(cls, raw: Any) -> Any:
        """Training takes the rows that `sequences` makes: what it says of them need not be said twice."""
        if not isinstance(raw, dict) or not all(
            isinstance(raw.get(k, {}), dict) for k in ("sequences", "train")
        ):
            return raw
        made = raw.get("sequences", {})
        told = {"seq_len": made.get("seq_len"), "group": made.get("deal_batches")}
        return raw | {"train": {k: v for k, v in told.items() if v is not None} | raw.get("train", {})}

    @model_validator(mode="after")
    def _rows_agree(self) -> RunConfig:
        for ours, theirs in (("seq_len", "seq_len"), ("deal_batches", "group")):
            made, wanted = getattr(self.sequences, ours), getattr(self.train, theirs)
            if made != wanted:
                raise ValueError(f"sequences.{ours} is {made}, but train.{theirs} is {wanted}; say it once")
        return self


def load_config(
    path: str | Path, overrides: list[str] | tuple[str, ...] = (), over: Path | None = None
) -> RunConfig:
    """Read a recipe and those under it (`base`), and apply `key.path=value` overrides (values are YAML).

    `over`: a partial recipe, e.g. of conf/annotators, whose settings come over those of `path`.

    Raises UserError naming the file, the field and what is wrong with it; an unknown key is wrong.
    """
    path = Path(path)
    raw = _with_base(path, ())
    if over is not None:
        raw, path = merged(raw, _with_base(over, ())), over
    for override in overrides:
        _apply(raw, override)
    try:
        return RunConfig.model_validate(raw)
    except ValidationError as error:
        raise UserError(f"{path}: {_first_line(error)}") from error


def _with_base(path: Path, above: tuple[Path, ...]) -> dict[str, Any]:
    """A recipe's settings over those of the recipes that its `base` names, paths beside it."""
    try:
        raw = yaml.safe_load(path.read_text())
    except FileNotFoundError as error:
        named = f" (base of {above[-1]})" if above else ""
        raise UserError(f"{path}{named}: no such recipe; those that come along are in conf/") from error
    except yaml.YAMLError as error:
        raise UserError(f"{path}: not YAML ({' '.join(str(error).split())})") from error
    raw = {} if raw is None else raw
    if not isinstance(raw, dict):
        raise UserError(f"{path}: a recipe is a mapping of settings, this is a {type(raw).__name__}")
    bases = raw.pop("base", None)
    bases = [bases] if isinstance(bases, str) else bases or []
    if not isinstance(bases, list) or not all(isinstance(base, str) for base in bases):
        raise UserError(f"{path}: base: the path of a recipe, or a list of them; this is {bases!r}")
    if bases and path.resolve() in above:
        raise UserError(f"{path}: base: the recipes name each other in a circle")
    under: dict[str, Any] = {}
    for base in bases:  # later ones over earlier ones
        under = merged(under, _with_base(path.parent / base, (*above, path.resolve())))
    return merged(under, raw)


def merged(under: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Settings of `over` where it has them, else of `under`; groups are merged, lists and values replaced."""
    both = dict(under)
    for key, value in over.items():
        below = both.get(key)
        both[key] = merged(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return both


def _apply(raw: dict[str, Any], override: str) -> None:
    name, equals, text = override.partition("=")
    if not equals:
        raise UserError(f"--set {override}: write it as key.path=value")
    *parents, last = name.split(".")
    node: Any = raw
    for parent in parents:
        node = node.setdefault(parent, {})
        if not isinstance(node, dict):
            raise UserError(f"--set {override}: {parent} is a value, not a group of settings")
    node[last] = yaml.safe_load(text)


def _first_line(error: ValidationError) -> str:
    """Every problem of a configuration on one line: `field: problem; field: problem`."""
    parts = []
    for item in error.errors():
        place = ".".join(str(part) for part in item["loc"])
        problem = (
            "unknown key; see `snowcoder plan --help` for the recipes"
            if item["type"] == "extra_forbidden"
            else item["msg"]
        )
        parts.append(f"{place}: {problem}" if place else problem)
    return "; ".join(parts)


def save_config(config: RunConfig, path: Path) -> None:
    from snowcoder.files import write_atomically

    text = yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)
    write_atomically(path, f"# Resolved configuration of this run\n{text}".encode())
