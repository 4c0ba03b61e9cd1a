"""Ask the generator: planned chunks in order -> Ray Data -> vLLM -> the request ledger, one commit per chunk.

    chunks to do -> load, render, tokenise [tasks] -> vLLM engines [actor pool] -> select [tasks] -> commit

Answers of one engine come back in any order, so they are put together by ordinal. Memory is bounded by the
chunks in flight: an engine gets one chunk at a time, and a chunk leaves memory when it is committed.
"""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipelines.synthesis import requests as ledger
from pipelines.synthesis.config import EngineConfig, SynthesisConfig
from pipelines.synthesis.models import fingerprint
from pipelines.synthesis.prompts import recipe
from snowcoder.base import UserError

# Ray's processor carries a row with this column set past the engine; the engine sets it where it fails.
_ERROR = "__inference_error__"
_ERROR_CHARACTERS = 300


@dataclass(frozen=True, slots=True)
class Progress:
    """Totals of this call after a commit; `chunk` is the one just committed."""

    chunk: int
    chunks_done: int  # in the ledger, those of earlier calls included
    chunks: int  # in the plan
    requests: int = 0
    errors: int = 0
    prompt_tokens: int = 0
    output_tokens: int = 0
    seconds: float = 0.0  # since the call, engine start included

    @property
    def tokens_per_second(self) -> float:
        return self.output_tokens / self.seconds if self.seconds else 0.0


def generate(plan: ledger.Plan, config: SynthesisConfig, model: Path, directory: Path) -> Iterator[Progress]:
    """Answer every planned request that `directory` does not hold, chunk by chunk; yields at each commit.

    Needs a Ray session. An error of one request is a row with `error`, never a lost chunk. Raises UserError
    when the ledger answers other questions, or was written by another model.
    """
    model_hash = fingerprint(model)
    directory.mkdir(parents=True, exist_ok=True)
    done = set(_checked(plan, directory, model_hash))
    started = time.monotonic()
    totals = {"requests": 0, "errors": 0, "prompt_tokens": 0, "output_tokens": 0}
    # A retried engine task may deal its rows to other blocks than before, so a chunk can end incomplete. It
    # is then asked again; twice without progress means something else is wrong.
    fruitless = 0
    while todo := [chunk for chunk in range(plan.chunks) if chunk not in done]:
        before = len(done)
        for chunk, answers in _complete_chunks(plan, config, model, todo):
            table = ledger.responses(plan.load(chunk), answers, config.generator, model_hash)
            ledger.commit_chunk(directory, chunk, table, _answer_key(plan, chunk, model_hash))
            done.add(chunk)
            totals["requests"] += table.num_rows
            totals["errors"] += table.num_rows - table["error"].null_count
            for name in ("prompt_tokens", "output_tokens"):
                totals[name] += sum(table[name].to_pylist())
            yield Progress(chunk, len(done), plan.chunks, **totals, seconds=time.monotonic() - started)
        fruitless = fruitless + 1 if len(done) == before else 0
        if fruitless == 2:
            raise RuntimeError(f"{len(todo)} chunks came back incomplete twice, the first is {todo[0]}")


def _checked(plan: ledger.Plan, directory: Path, model_hash: str) -> Iterator[int]:
    for chunk, key in ledger.committed_chunks(directory).items():
        if chunk >= plan.chunks or key != _answer_key(plan, chunk, model_hash):
            raise UserError(
                f"{directory / ledger.chunk_name(chunk)}: answers another plan or comes from another model; "
                "restore the config it was made with, or use a new run directory"
            )
        yield chunk


def _answer_key(plan: ledger.Plan, chunk: int, model_hash: str) -> str:
    return f"{plan.key(chunk)}-{model_hash[:16]}"


def _complete_chunks(
    plan: ledger.Plan, config: SynthesisConfig, model: Path, todo: list[int]
) -> Iterator[tuple[int, dict[int, dict[str, Any]]]]:
    """(chunk, answers by ordinal) of each chunk as soon as its last answer is there."""
    import ray.data
    from ray.data.llm import build_processor

    stop_tokens = _stop_tokens(model)
    room = config.engine.max_model_len
    questions = ray.data.range(len(todo), override_num_blocks=len(todo)).map_batches(
        lambda batch: _questions(plan, [todo[i] for i in batch["id"].to_pylist()], model, room),
        batch_size=None,
        batch_format="pyarrow",
    )
    processor = build_processor(
        engine_config(config.engine, model),
        preprocess=_to_engine,
        postprocess=lambda row: _from_engine(row, stop_tokens),
    )
    waiting: dict[int, dict[int, dict[str, Any]]] = defaultdict(dict)
    expected = dict.fromkeys(todo, 0)
    answered = processor(questions)
    answered.context.execution_no_progress_timeout_s = config.engine.stall_seconds
    for batch in answered.iter_batches(batch_size=None, batch_format="pyarrow"):
        for row in batch.to_pylist():
            chunk = row["chunk"]
            waiting[chunk][row["ordinal"]] = _answer(row)
            expected[chunk] = row["chunk_rows"]
        for chunk in [c for c, answers in waiting.items() if len(answers) == expected[c]]:
            yield chunk, waiting.pop(chunk)


def engine_config(engine: EngineConfig, model: Path) -> Any:
    """Ray's vLLMEngineProcessorConfig, on CPU with what keeps Ray and vLLM from asking for GPUs."""
    import ray
    from ray.data.llm import vLLMEngineProcessorConfig

    gpu = engine.device == "gpu" or (engine.device == "auto" and ray.cluster_resources().get("GPU", 0) > 0)
    if not gpu and engine.tensor_parallel > 1:
        raise UserError("synthesis.engine.tensor_parallel: vLLM on CPU runs with 1 only; set it to 1")
    arguments: dict[str, Any] = {
        "max_model_len": engine.max_model_len,
        "max_num_seqs": engine.max_num_seqs,
        "tensor_parallel_size": engine.tensor_parallel,
        "dtype": engine.dtype if gpu or engine.dtype != "auto" else "float32",
        "disable_log_stats": True,
    }
    variables = {"VLLM_NO_USAGE_STATS": "1"}
    bundle: dict[str, float] = {"CPU": engine.cpus}
    if gpu:
        bundle["GPU"] = 1
    else:
        arguments["enforce_eager"] = True
        # vLLM 0.32 kills the engine when a request with a seed is prefilled in parts on CPU ("CPU Generator
        # does not use offset"), so prompts go in whole.
        arguments["enable_chunked_prefill"] = False
        arguments["max_num_batched_tokens"] = max(engine.max_model_len, 4096)
        variables |= {
            "VLLM_TARGET_DEVICE": "cpu",
            "VLLM_CPU_KVCACHE_SPACE": str(engine.cpu_kv_cache_gib),
            "VLLM_CPU_OMP_THREADS_BIND": "nobind",  # Ray decides where workers run
            "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # engine inside the actor: starts in 4 s, not 54 s
            "OMP_NUM_THREADS": str(max(1, int(engine.cpus))),
            "OMP_WAIT_POLICY": "PASSIVE",  # spinning threads stall one another when Ray shares the cores out
        }
    return vLLMEngineProcessorConfig(
        model_source=str(model),
        engine_kwargs=arguments | engine.extra,
        runtime_env={"env_vars": variables},
        placement_group_config={"bundles": [bundle] * engine.tensor_parallel},
        batch_size=engine.batch_size,
        max_concurrent_batches=engine.concurrent_batches,
        # (n, n): a plain n would start one engine and grow, and the first chunks would all go to it.
        concurrency=(engine.replicas, engine.replicas),
        should_continue_on_error=True,
        log_engine_metrics=False,  # needs ray[serve] complete; the ledger has the counts
        chat_template_stage=False,  # rendered and tokenised by us: the length is known before sending
        tokenize_stage=False,
        detokenize_stage=False,
    )


def _questions(plan: ledger.Plan, chunks: list[int], model: Path, max_model_len: int) -> Iterator[pa.Table]:
    """Engine rows of whole chunks: tokenised prompt, sampling parameters, or the error that keeps a row from
    it."""
    for chunk in chunks:
        table = plan.load(chunk)
        rows = [_question(row, _tokenizer(str(model)), max_model_len) for row in table.to_pylist()]
        for row in rows:
            row |= {"chunk": chunk, "chunk_rows": table.num_rows}
        yield pa.Table.from_pylist(rows)


def _question(row: dict[str, Any], tokenizer: Any, max_model_len: int) -> dict[str, Any]:
    question = {
        "ordinal": row["ordinal"],
        "prompt_ids": [],
        "sampling": row["sampling"],
        "error": row["error"] or "",
    }
    if question["error"]:
        return question
    if ledger.prompt_hash(row["recipe"], row["snippet"], row["lang"]) != row["prompt_hash"]:
        raise ValueError(f"the plan's prompt and the template {row['recipe']!r} differ")
    messages = recipe(row["recipe"]).messages(row["snippet"], row["lang"])
    prompt = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    question["prompt_ids"] = tokenizer(prompt, add_special_tokens=False)["input_ids"]
    wanted = len(question["prompt_ids"]) + json.loads(row["sampling"])["max_tokens"]
    if wanted > max_model_len:
        question["error"] = f"prompt_too_long: {wanted} tokens with the output, {max_model_len} fit"
    return question


def _to_engine(row: dict[str, Any]) -> dict[str, Any]:
    if row["error"]:
        return {_ERROR: row["error"]}
    return {_ERROR: "", "tokenized_prompt": row["prompt_ids"], "sampling_params": json.loads(row["sampling"])}


def _from_engine(row: dict[str, Any], stop_tokens: frozenset[int]) -> dict[str, Any]:
    # Ray's stage drops vLLM's finish reason, but keeps the tokens, the one that ended the text included.
    tokens = row["generated_tokens"]
    return {
        "chunk": row["chunk"],
        "chunk_rows": row["chunk_rows"],
        "ordinal": row["ordinal"],
        "prompt_tokens": row["num_input_tokens"],
        "output_tokens": len(tokens),
        "finish": "stop" if len(tokens) and int(tokens[-1]) in stop_tokens else "length",
        "text": row["generated_text"],
    }


def _answer(row: dict[str, Any]) -> dict[str, Any]:
    error = row.get(_ERROR)
    if not error:
        return {name: row[name] for name in ("prompt_tokens", "output_tokens", "finish", "text")} | {
            "error": None
        }
    if not row.get("error"):  # not ours: the engine failed on this request
        error = f"inference: {error}"
    prompt = row.get("prompt_ids")
    return {
        "prompt_tokens": 0 if prompt is None else len(prompt),
        "output_tokens": 0,
        "finish": None,
        "text": None,
        "error": error[:_ERROR_CHARACTERS],
    }


@lru_cache(maxsize=2)
def _tokenizer(model: str) -> Any:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model)
    if tokenizer.chat_template is None:
        raise UserError(f"synthesis.generator: {model}: no chat template; give an instruction-tuned model")
    return tokenizer


def _stop_tokens(model: Path) -> frozenset[int]:
    """Tokens that end a text: the end of sequence of the tokenizer and of the generation config, as in
    vLLM."""
    ids = {_tokenizer(str(model)).eos_token_id}
    path = model / "generation_config.json"
    if path.is_file():
        configured = json.loads(path.read_text()).get("eos_token_id")
        ids.update(configured if isinstance(configured, list) else [configured])
    return frozenset(ids - {None})
