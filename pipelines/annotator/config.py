"""Settings of the quality annotator: encoder, windows, head, positives, and the selection by its scores."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from pipelines.language import LANGUAGES
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
    batch_tokens: int = Field(0, ge=0)
    """Padded tokens of one forward pass; 0: 2,048 on a CPU (more does not help), 65,536 on a GPU."""
    threads: int = Field(0, ge=0)
    """CPU threads of torch in this process; 0 leaves what the environment gives (Ray: `num_cpus`)."""


class HeadConfig(Config):
    l2: float = Field(0.1, gt=0)
    """Weight of half the squared norm of the standardised weights, against the mean log loss (ours; from 0.03
    to 0.3 the held-out ROC-AUC of the demo's positives moves by 0.002)."""
    max_steps: int = Field(200, ge=1)
    """Bound on L-BFGS steps. The loss is convex and starts at zero weights, so there is no seed to choose."""


class PositiveSource(Config):
    kind: Literal["archive", "instructions"]
    """"archive": files of wheels and source archives. "instructions": rows of JSONL, JSON or Parquet."""
    paths: tuple[str, ...]
    """Files, or directories whose files are taken in the order of their names."""
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
    group_field: str = ""
    """Column whose equal values stay on one side of the held-out split; "": every row is its own group."""

    @model_validator(mode="after")
    def _known_languages(self) -> PositiveSource:
        for name in (*self.languages, *([self.language] if self.language else [])):
            if name not in LANGUAGES:
                raise ValueError(f"unknown language {name!r}")
        return self


class PositivesConfig(Config):
    sources: tuple[PositiveSource, ...] = ()
    """Where good code comes from (paper 3.4, ANN-HQINS: 220k code files and 80k instruction samples)."""
    min_bytes: int = Field(200, ge=0)
    """Shorter texts are stubs (ours)."""
    max_bytes: int = Field(1 << 20, ge=1)
    """Longer texts are data (ours)."""


class AnnotatorConfig(Config):
    name: str = "ann-hqins"
    """Names the annotator in the ledger and in reports (paper 3.4: ANN-HQINS is the adopted one)."""
    encoder: EncoderConfig = EncoderConfig()
    head: HeadConfig = HeadConfig()
    positives: PositivesConfig = PositivesConfig()
    negatives_per_positive: float = Field(1.0, gt=0)
    """Random documents of the kept corpus per positive (balanced: read from "300" [k] in paper 2.3)."""
    negatives_match_language: bool = True
    """Draw negatives in the positives' language mix; else Python positives teach the head the language.
    Positives of unknown language then have no negatives of their own."""
    held_out: float = Field(0.2, gt=0, lt=1)
    """Share of documents, in whole groups, that the head never sees and the ROC-AUC is measured on (ours)."""
    bootstrap: int = Field(1000, ge=100)
    """Resamples of groups for the 95 % interval of the ROC-AUC."""
    seed: int = 0
    """Of the sample of negatives, the split and the bootstrap."""


class SelectionConfig(Config):
    budget_tokens: int = Field(12_500_000_000, ge=0)
    """Unique tokens to select over all languages (paper 2.3: 12.5B, repeated 4 x)."""
    fraction: float | None = Field(None, gt=0, le=1)
    """Instead of `budget_tokens`: this share of all tokens."""
    mix: Literal["natural"] | dict[str, float] = "natural"
    """Each language's share of the budget: its share of the kept tokens (paper 2.3), or weights by name."""
