"""Phase 3's data side with recorded answers in place of a generator: judged in order, packed, tied to requests."""

from __future__ import annotations

import json
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from pipelines.dedup.config import DedupConfig
from pipelines.dedup.index import LocalPartitions
from pipelines.phases.continued import choose, continued, score
from pipelines.phases.corpus import make_tokenizer
from pipelines.phases.enhanced import (
    Answers,
    corpus_keys,
    enhanced,
    judge_answers,
    passes_needed,
    plan_key,
    teed_documents,
)
from pipelines.scoring import RandomAnnotator
from pipelines.sequences.config import TokenizerConfig
from pipelines.sequences.tokenizer import load_tokenizer
from pipelines.stages.benchmark_index import BenchmarkIndex
from pipelines.stages.stored_index import store
from pipelines.synthesis.config import SynthesisConfig, VerifyConfig
from pipelines.synthesis.duplicates import Duplicates, corpus_index, synthesis_dedup
from pipelines.synthesis.questions import Passes, plan
from pipelines.synthesis.recipes import load_recipes
from pipelines.synthesis.requests import commit_chunk, responses
from pipelines.synthesis.seeds import choose_seeds
from pipelines.synthesis.verify import Outcome
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


DEDUP = synthesis_dedup(DedupConfig(partitions=1, expected_documents=1000))


def test_answers_become_sequences_in_the_order_of_their_requests(seeded, tmp_path):
    made, scoring = seeded
    teed = teed_documents(made, scoring)
    facts = tmp_path / "seeds.json"
    seeds = list(choose_seeds(teed, 8, 0.5, DEDUP, facts))
    found = [seed for table in seeds for seed in table["seed"].to_pylist()]
    assert found == sorted(found)
    assert 4 <= len(found) <= 8
    told = json.loads(facts.read_text())
    assert sum(lang["chosen"] for lang in told.values()) == len(found)
    assert told["Python"]["chosen"] == sum(t["lang"].to_pylist().count("Python") for t in seeds)
    root = made.root / "synthesis"
    config = SynthesisConfig(
        chunk_requests=3, verify=VerifyConfig(run=True, run_needs_tests=False, min_code_lines=3)
    )
    requests = plan(iter(seeds), config, root / "plan", seeds_key="test")
    asked = [row for chunk in range(requests.chunks) for row in requests.load(chunk).to_pylist()]
    assert requests.requests == len(found)

    texts = [fenced(program(n)) for n in range(requests.requests)]
    texts[1] = fenced(SOLUTION)
    texts[2] = fenced(program(0))  # word for word the first
    texts[3] = fenced(program(0).replace("print(", "str("))  # nearly the first
    index = BenchmarkIndex.build([_benchmark()])
    answers = Answers(
        root=root,
        plan_key=plan_key(requests, "model"),
        verify=config.verify.model_copy(update={"language": None}),  # the programs above are Python for all
        dedup=DEDUP,
        benchmarks=store(index, tmp_path / "benchmarks"),
        ledger_root=made.ledger_root,
    )
    passes = Passes(root, config, load_recipes(config.recipes))

    def arrive_backwards():
        for chunk in reversed(range(requests.chunks)):
            rows = requests.load(chunk)
            told = {
                n: {"prompt_tokens": 1, "output_tokens": 1, "finish": "stop", "text": texts[n], "error": None}
                for n in rows["ordinal"].to_pylist()
            }
            table = responses(rows, told, "model", "", "hash")
            # All are asked for Python, whatever their seeds are in.
            table = table.set_column(
                table.schema.get_field_index("lang"), "lang", pa.array(["Python"] * len(table))
            )
            time.sleep(0.5)
            commit_chunk(root / "requests", chunk, table, f"key-{chunk}")
            yield chunk

    runs = []

    def run(sources):
        runs.extend(sources)
        return [Outcome(True, "") for _ in sources]

    def judge(done):
        index = corpus_index(corpus_keys(made, DEDUP), DEDUP, LocalPartitions(DEDUP))
        duplicates = Duplicates(DEDUP, [index], requests.requests)
        return judge_answers(requests, passes, answers, duplicates, done, seen.append, run)

    (root / "requests").mkdir()
    seen = []
    stream = enhanced(made, answers, requests, epochs=2)
    with ThreadPoolExecutor(1) as producer:
        producing = producer.submit(judge, arrive_backwards())
        rows = read(
            stream, world_size=2
        )  # asked for before there is anything: it waits for the last to arrive
        judged = producing.result()
    reasons = Counter()
    for (_, _, reason), count in judged.tally.items():
        reasons[reason] += count
    assert reasons == Counter({"accepted": requests.requests - 3, "contaminated": 1, "duplicate_output": 2})
    assert judged.chunks == requests.chunks
    assert len(runs) == requests.requests - 1  # all but the leak

    # Judging again replays: programs are not run again, and the tally and the files are the same.
    files = {path.name: path.read_bytes() for path in answers.path(0).parent.iterdir()}
    again = judge(iter(()))
    assert again == judged
    assert len(runs) == requests.requests - 1
    assert {path.name: path.read_bytes() for path in answers.path(0).parent.iterdir()} == files

    assert rows
    known = {request["seed"] for request in asked}
    for batch in rows.values():
        for _, chunk, _, _ in batch:
            table = pq.read_table(answers.path(chunk))
            assert {int(path.split("-")[0], 16) for path in table["path"].to_pylist()} <= known
    tokens = [t for batch in rows.values() for epoch, _, _, part in batch if epoch == 0 for t in part]
    text = load_tokenizer(str(made.tokenizer)).tokenizer.decode(tokens, skip_special_tokens=True)
    assert "compute_0(" in text
    assert "has_close_elements" not in text


def test_python_gets_its_share_of_the_seeds(seeded):
    made, scoring = seeded
    for table in choose_seeds(teed_documents(made, scoring), 6, 1.0, DEDUP):
        assert pc.all(pc.equal(table["lang"], "Python")).as_py()


def test_the_token_budget_sets_the_passes():
    assert passes_needed(tokens=1000, accepted_bytes=4000, bytes_per_token=4.0) == 3
    assert passes_needed(tokens=10_000, accepted_bytes=4000, bytes_per_token=4.0) == 21
    with pytest.raises(ValueError, match="no file"):
        passes_needed(1000, 0, 4.0)


def _benchmark():
    from evaluation.benchmarks import load

    return load("humaneval")[0].text()
