"""What is evaluated, how the model is asked, and what a candidate program may use."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from evaluation.benchmarks import BENCHMARKS, GROUPS, parts
from snowcoder.base import Config


class Limits(Config):
    """What one candidate program may use. CPU seconds decide, so that a busy machine changes no score."""

    cpu_seconds: int = Field(3, ge=1)
    """CPU seconds of one process; HumanEval has 3 s of wall time. Tasks with inputs have limits of their own."""
    wall_seconds: float = Field(30.0, gt=0)
    """Backstop for programs that sleep or wait. What meets it is run once more, alone."""
    memory_bytes: int | None = Field(4 << 30, ge=64 << 20)
    """Address space of one process (RLIMIT_AS), as EvalPlus's. None for virtual machines that reserve a lot."""
    resident_bytes: int = Field(4 << 30, ge=64 << 20)
    """Memory in use by all processes of the candidate, looked at ten times a second; not in the tier landlock."""
    disk_bytes: int = Field(64 << 20, ge=1 << 20)
    """Size of its private file system, and of its /dev/shm."""
    file_bytes: int = Field(16 << 20, ge=0)
    """Largest file that it may write (RLIMIT_FSIZE)."""
    open_files: int = Field(64, ge=16)
    """RLIMIT_NOFILE."""
    processes: int = Field(64, ge=1)
    """RLIMIT_NPROC: processes and threads."""
    output_bytes: int = Field(1 << 20, ge=1)
    """stdout and stderr together; more ends the program."""


class EvaluationConfig(Config):
    """One evaluation of one model."""

    benchmarks: tuple[str, ...] = ("humaneval",)
    """Benchmarks with execution (pass@k), or groups of them: humaneval+, evoeval, multipl-e, … (docs/evaluation.md)."""
    bits_per_byte_benchmarks: tuple[str, ...] = ("humaneval",)
    """Benchmarks whose reference solutions are scored in bits per byte; () for none."""
    data_dir: Path | None = None
    """Where benchmark files are looked for first; None: cache, installed package, download."""
    max_tasks: int | None = Field(None, ge=1)
    """The first so many tasks of each benchmark; None for all."""

    samples: int = Field(1, ge=1)
    """Completions per task."""
    pass_at: tuple[int, ...] = (1,)
    """The k of pass@k; each at most `samples`."""
    temperature: float = Field(0.0, ge=0)
    """0 is greedy, as in the paper (section 3.1)."""
    top_p: float = Field(1.0, gt=0, le=1)
    """Nucleus of sampling, when the temperature is above 0."""
    max_new_tokens: int = Field(512, ge=1)
    """Longest completion, in tokens."""
    stops: tuple[str, ...] | None = None
    """Strings that end a completion; None: the benchmark's own."""
    prompt: Literal["base", "instruct", "auto"] = "base"
    """base: the model goes on after the prompt. instruct: it is asked by its chat template and answers with a
    program. auto: instruct if its tokenizer has a chat template."""
    strip_prompt: bool = True
    """Cut the prompt's trailing newlines (paper, table 2: worth up to 15 points for some models)."""
    seed: int = 0
    """Of sampling."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Of generation; auto: float32 without a GPU, else what the model's config says."""
    kv_cache_gib: int = Field(1, ge=1)
    """vLLM's key-value cache when there is no GPU, in GiB."""
    generation_seconds: float = Field(6 * 3600.0, gt=0)
    """Wall limit of one generation process."""

    limits: Limits = Limits()
    """Of one candidate program."""
    unittest_limits: Limits = Limits(
        cpu_seconds=60,
        wall_seconds=300.0,
        memory_bytes=8 << 30,
        resident_bytes=4 << 30,
        file_bytes=64 << 20,
        open_files=256,
    )
    """Of one BigCodeBench task, whose libraries take seconds to import."""
    program_limits: Limits = Limits(
        cpu_seconds=30,
        wall_seconds=120.0,
        memory_bytes=4 << 30,
        disk_bytes=256 << 20,
        file_bytes=64 << 20,
        open_files=256,
        processes=256,
    )
    """Of compiling and running in another language. The address space of node, Go and the JVM, which reserve tens
    of GiB, is left open: their heaps have limits of their own."""
    bigcodebench_python: Path | None = None
    """Python of an environment with requirements/bigcodebench.in (docs/evaluation.md); needed for BigCodeBench."""
    workers: int | None = Field(None, ge=1)
    """Candidate programs at a time; None: the number of CPUs."""
    sandbox: Literal["auto", "bubblewrap", "namespaces", "landlock", "unsafe"] = "auto"
    """auto takes the strongest that this host allows (docs/evaluation.md); the tier used is in the result."""
    check_references: bool = True
    """Run the reference solutions first and list those that fail here."""

    @model_validator(mode="after")
    def _consistent(self) -> EvaluationConfig:
        judged = [name for name, known in BENCHMARKS.items() if known.judged]
        for name in self.benchmarks:
            if (name not in GROUPS and name not in judged) or not set(parts(name)) <= set(judged):
                choice = [*judged, *(group for group in GROUPS if set(parts(group)) <= set(judged))]
                raise ValueError(f"benchmarks: {name!r} cannot be judged; choose from {choice}")
        for name in self.bits_per_byte_benchmarks:
            if name not in BENCHMARKS:
                raise ValueError(
                    f"bits_per_byte_benchmarks: {name!r} is unknown; choose from {list(BENCHMARKS)}"
                )
        if self.samples > 1 and self.temperature == 0:
            raise ValueError("samples > 1 with temperature 0 gives equal samples; set a temperature")
        if not self.pass_at or min(self.pass_at) < 1 or max(self.pass_at) > self.samples:
            raise ValueError("pass_at: each k must lie between 1 and samples")
        return self
