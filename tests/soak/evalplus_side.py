"""EvalPlus's own verdicts, by its Python: `PYTHON evalplus_side.py DATASET SAMPLES.jsonl VERDICTS.json WORKERS`.

DATASET is humaneval or mbpp; the data come from HUMANEVAL_OVERRIDE_PATH and MBPP_OVERRIDE_PATH. Each sample is
{"task_id", "solution"}; the verdicts are true where base and added inputs pass, in the order of the samples.
"""

import json
import sys
import time
from concurrent.futures import ProcessPoolExecutor

from evalplus.data import get_human_eval_plus, get_human_eval_plus_hash, get_mbpp_plus, get_mbpp_plus_hash
from evalplus.eval._special_oracle import MBPP_OUTPUT_NOT_NONE_TASKS
from evalplus.evaluate import check_correctness, get_groundtruth


def main(dataset: str, samples: str, verdicts: str, workers: str) -> None:
    if dataset == "humaneval":
        problems, key, not_none = get_human_eval_plus(), get_human_eval_plus_hash(), []
    else:
        problems, key, not_none = get_mbpp_plus(), get_mbpp_plus_hash(), MBPP_OUTPUT_NOT_NONE_TASKS
    with open(samples) as file:
        rows = [json.loads(line) for line in file]
    wanted = {row["task_id"] for row in rows}
    problems = {task: problem for task, problem in problems.items() if task in wanted}
    expected = get_groundtruth(problems, f"{key}-{len(problems)}", not_none)
    started = time.time()
    with ProcessPoolExecutor(int(workers)) as pool:
        futures = [
            pool.submit(
                check_correctness,
                dataset,
                number,
                problems[row["task_id"]],
                row["solution"],
                expected[row["task_id"]],
                False,
                True,
                str(number),
            )
            for number, row in enumerate(rows)
        ]
        found = [future.result() for future in futures]
    passed = [result["base"][0] == "pass" and result["plus"][0] == "pass" for result in found]
    states = [[result["base"][0], result["plus"][0]] for result in found]
    with open(verdicts, "w") as file:
        json.dump({"passed": passed, "states": states, "seconds": time.time() - started}, file)


if __name__ == "__main__":
    main(*sys.argv[1:])
