"""vLLM through Ray Data: chunks -> render, tokenise [tasks] -> engines [actor pool] -> select [tasks].

Ray starts a crashed engine again, and asks it what the crashed one had not answered. Batches are small and overlap,
as a batch comes back only when its last answer is there (ray issue 52634: the default shapes halve throughput).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Set
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from pipelines.synthesis.config import EngineConfig
from pipelines.synthesis.engine import Answer, Arrival, failure
from pipelines.synthesis.models import fingerprint, revision
from pipelines.synthesis.requests import Plan
from snowcoder.base import UserError

if TYPE_CHECKING:
    from ray.data import Dataset

# Ray's processor carries a row with this column set past the engine; the engine sets it where it fails.
_ERROR = "__inference_error__"


class VllmEngine:
    """Engines in a pool of Ray actors, started with the first request. Needs a Ray session."""

    def __init__(
        self, model: str, directory: Path, config: EngineConfig, labels: Mapping[str, str] | None = None
    ) -> None:
        self.model, self.directory, self.config = model, directory, config
        self.labels = dict(labels or {})

    @cached_property
    def revision(self) -> str:
        return revision(self.model, self.directory)

    @cached_property
    def model_hash(self) -> str:
        return fingerprint(self.directory)

    def answers(self, plan: Plan, todo: Mapping[int, Set[int]]) -> Iterator[list[Arrival]]:
        import ray.data
        from ray.data.llm import build_processor

        model, room = self.directory, self.config.max_model_len
        stop_tokens = _stop_tokens(model)
        work = list(todo.items())
        questions = ray.data.range(len(work), override_num_blocks=len(work)).map_batches(
            lambda batch: _questions(plan, [work[i] for i in batch["id"].to_pylist()], model, room),
            batch_size=None,
            batch_format="pyarrow",
            label_selector=self.labels or None,
        )
        beside = {"label_selector": self.labels} if self.labels else None
        processor = build_processor(
            processor_config(self.config, model, self.labels.get("ray.io/accelerator-type")),
            preprocess_map_kwargs=beside,
            postprocess_map_kwargs=beside,
            preprocess=_to_engine,
            postprocess=lambda row: _from_engine(row, stop_tokens),
        )
        answered = processor(questions)
        answered.context.execution_no_progress_timeout_s = self.config.stall_seconds
        for block in as_they_come(answered):
            yield [Arrival(row["chunk"], row["ordinal"], _answer(row)) for row in block.to_pylist()]


def as_they_come(answered: Dataset) -> Iterator[pa.Table]:
    """The blocks of a running stream, each as soon as it is there."""
    # Prefetching would hold a block back until the next one comes, and leave its answers unrecorded till then.
    yield from answered.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0)


def processor_config(engine: EngineConfig, model: Path, accelerator: str | None = None) -> Any:
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
        # One backend on CPU and GPU, so that a structure admits the same answers on both.
        "structured_outputs_config": {"backend": "guidance"},
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
        accelerator_type=accelerator,
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


def _questions(
    plan: Plan, work: list[tuple[int, Set[int]]], model: Path, max_model_len: int
) -> Iterator[pa.Table]:
    """Engine rows of what is open in chunks: tokenised prompt, sampling parameters, or the error that keeps a
    row from it."""
    for chunk, answered in work:
        rows = [
            {"chunk": chunk, **_question(row, tokenizer_of(str(model)), max_model_len)}
            for row in plan.load(chunk).to_pylist()
            if row["ordinal"] not in answered
        ]
        yield pa.Table.from_pylist(rows, schema=_QUESTION)


_QUESTION = pa.schema(
    [
        ("chunk", pa.int64()),
        ("ordinal", pa.int64()),
        ("prompt_ids", pa.list_(pa.int64())),
        ("sampling", pa.string()),
        ("error", pa.string()),  # "" for none
    ]
)


def _question(row: dict[str, Any], tokenizer: Any, max_model_len: int) -> dict[str, Any]:
    question = {
        "ordinal": row["ordinal"],
        "prompt_ids": [],
        "sampling": row["sampling"],
        "error": row["error"] or "",
    }
    if question["error"]:
        return question
    messages = json.loads(row["messages"])
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
    asked = json.loads(row["sampling"])
    stopped = len(tokens) and int(tokens[-1]) in stop_tokens
    if asked.get("stop") and len(tokens) < asked["max_tokens"]:  # a stop text ended it, which is no token
        stopped = True
    return {
        "chunk": row["chunk"],
        "ordinal": row["ordinal"],
        "prompt_tokens": row["num_input_tokens"],
        "output_tokens": len(tokens),
        "finish": "stop" if stopped else "length",
        "text": row["generated_text"],
    }


def _answer(row: dict[str, Any]) -> Answer:
    error = row.get(_ERROR)
    if not error:
        return {name: row[name] for name in ("prompt_tokens", "output_tokens", "finish", "text")} | {
            "error": None
        }
    if not row.get("error"):  # not ours: the engine failed on this request
        error = f"inference: {error}"
    prompt = row.get("prompt_ids")
    return failure(error, 0 if prompt is None else len(prompt))


@lru_cache(maxsize=2)
def tokenizer_of(model: str) -> Any:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model)
    if tokenizer.chat_template is None:
        raise UserError(f"synthesis.generator: {model}: no chat template; give an instruction-tuned model")
    return tokenizer


def _stop_tokens(model: Path) -> frozenset[int]:
    """Tokens that end a text: the end of sequence of the tokenizer and of the generation config, as in
    vLLM."""
    ids = {tokenizer_of(str(model)).eos_token_id}
    path = model / "generation_config.json"
    if path.is_file():
        configured = json.loads(path.read_text()).get("eos_token_id")
        ids.update(configured if isinstance(configured, list) else [configured])
    return frozenset(ids - {None})
