"""Phase 3's data side with recorded answers in place of a generator: judged in order, packed, tied to requests."""

from __future__ import annotations

from collections import Counter

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from pipelines.dedup.config import DedupConfig
from pipelines.phases.continued import choose, continued, score
from pipelines.phases.corpus import make_tokenizer
from pipelines.phases.enhanced import Answers, choose_seeds, enhanced, judge_answers, plan_key
from pipelines.scoring import RandomAnnotator
from pipelines.sequences.config import TokenizerConfig
from pipelines.sequences.tokenizer import load_tokenizer
from pipelines.stages.benchmark_index import BenchmarkIndex
from pipelines.stages.stored_index import store
from pipelines.synthesis.config import SynthesisConfig
from pipelines.synthesis.requests import Plan as Requests
from pipelines.synthesis.requests import commit_chunk, responses
from tests.corpora import corpus, write_repositories
from tests.pipelines.test_stream import read

SOLUTION = """from typing import List


def has_close_elements(numbers: List[float], threshold: float) -> bool:
    for idx, elem in enumerate(numbers):
        for idx2, elem2 in enumerate(numbers):
            if idx != idx2:
                distance = abs(elem - elem2)
                if distance < threshold:
                    return True

    return False
"""


def program(n: int) -> str:
    names = [f"value_{n}_{i}" for i in range(30)]
    body = "\n".join(f"    {name} = total_{n} * {i} + {n}" for i, name in enumerate(names))
    return (
        f"def compute_{n}(total_{n}):\n{body}\n    return {' + '.join(names)}\n\n\nprint(compute_{n}({n}))\n"
    )


def fenced(code: str) -> str:
    return f"Here it is.\n```python\n{code}```\n"


@pytest.fixture
def seeded(tmp_path, ray_session):
    made = corpus(write_repositories(tmp_path / "source"), tmp_path / "run")
    make_tokenizer(made, TokenizerConfig(vocab_size=700, sample_bytes=100_000))
    annotator = RandomAnnotator(seed=1)
    list(score(made, annotator))
    selection = choose(made, annotator, unique_tokens=200_000)
    plan = continued(made, annotator, selection.thresholds, repeats=1)
    read(plan, world_size=1)  # streams, and so tees
    return made, plan.scoring


def test_answers_become_sequences_in_the_order_of_their_requests(seeded, tmp_path):
    made, scoring = seeded
    seeds = list(choose_seeds(made, scoring, 8, python_share=0.5))
    found = [seed for table in seeds for seed in table["seed"].to_pylist()]
    assert found == sorted(found)
    assert 4 <= len(found) <= 8
    root = made.root / "synthesis"
    config = SynthesisConfig(chunk_requests=3)
    requests = Requests.write(iter(seeds), config, root / "plan", seeds_key="test")
    assert requests.requests == len(found)

    texts = [fenced(program(n)) for n in range(requests.requests)]
    texts[1] = fenced(SOLUTION)
    texts[2] = fenced(program(0))  # word for word the first
    texts[3] = fenced(program(0).replace("print(", "str("))  # nearly the first
    index = BenchmarkIndex.build([_benchmark()])
    answers = Answers(
        root=root,
        plan_key=plan_key(requests, "model"),
        verify=config.verify,
        dedup=DedupConfig(partitions=1, expected_documents=1000),
        benchmarks=store(index, tmp_path / "benchmarks"),
        ledger_root=made.ledger_root,
    )

    def arrive_backwards():
        for chunk in reversed(range(requests.chunks)):
            asked = requests.load(chunk)
            told = {
                n: {"prompt_tokens": 1, "output_tokens": 1, "finish": "stop", "text": texts[n], "error": None}
                for n in asked["ordinal"].to_pylist()
            }
            commit_chunk(root / "requests", chunk, responses(asked, told, "model", "hash"), f"key-{chunk}")
            yield chunk

    (root / "requests").mkdir()
    progress: list[int] = []
    reasons = judge_answers(
        requests, answers, arrive_backwards(), lambda seen: progress.append(sum(seen.values()))
    )
    assert reasons == Counter(
        {"accepted": requests.requests - 3, "contaminated": 1, "duplicate": 1, "near_duplicate": 1}
    )
    assert progress == sorted(progress)

    plan = enhanced(made, answers, requests, epochs=2)
    rows = read(plan, world_size=2)
    assert rows
    asked = {
        request for chunk in range(requests.chunks) for request in requests.load(chunk)["seed"].to_pylist()
    }
    for batch in rows.values():
        for _, chunk, _, _ in batch:
            table = pq.read_table(answers.path(chunk))
            assert {int(path.split("-")[0], 16) for path in table["path"].to_pylist()} <= asked
    tokens = [t for batch in rows.values() for epoch, _, _, part in batch if epoch == 0 for t in part]
    text = load_tokenizer(str(made.tokenizer)).tokenizer.decode(tokens, skip_special_tokens=True)
    assert "compute_0(" in text
    assert "has_close_elements" not in text


def test_python_gets_its_share_of_the_seeds(seeded):
    made, scoring = seeded
    for table in choose_seeds(made, scoring, 6, python_share=1.0):
        assert pc.all(pc.equal(table["lang"], "Python")).as_py()


def _benchmark():
    from evaluation.benchmarks import load

    return load("humaneval")[0].text()
