"""Log-probabilities that vLLM gives the tokens of a prompt: DIRECTORY IDS... -> one JSON list on the last line."""

from __future__ import annotations

import json
import os
import sys

os.environ |= {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_LOGGING_LEVEL": "ERROR",
    "HF_HUB_OFFLINE": "1",
}


def main() -> None:
    from vllm import LLM, SamplingParams

    ids = [int(word) for word in sys.argv[2:]]
    engine = LLM(sys.argv[1], dtype="float32", enforce_eager=True, max_model_len=64, max_num_seqs=1)
    asked = SamplingParams(temperature=0.0, max_tokens=1, prompt_logprobs=1)
    (answer,) = engine.generate([{"prompt_token_ids": ids}], asked, use_tqdm=False)
    found = [place[token].logprob for place, token in zip(answer.prompt_logprobs[1:], ids[1:], strict=True)]
    print(json.dumps(found))


if __name__ == "__main__":
    main()
