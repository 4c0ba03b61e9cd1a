"""The report of a whole run, of runs that stopped early, of damaged files, and with hostile text in it."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from snowcoder import evaluation_table, plots
from snowcoder.funnel import funnel, total
from snowcoder.report import human_bytes, human_time, render_report, visible, write_report
from tests.snowcoder.example_run import HOSTILE, write_example, write_verdicts

SECTIONS = [
    "headline",
    "funnel",
    "rules",
    "scores",
    "training",
    "throughput",
    "rejected",
    "synthetic",
    "evaluation",
    "configuration",
]
VOID = {"meta", "br", "img", "link", "input", "hr", "wbr"}


class Page(HTMLParser):
    """Tags, attributes and text by section; fails on tags that are not closed in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.sections: dict[str, str] = {}
        self._open: list[str] = []
        self._section = ""
        self.feed(html)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)
        if tag == "section":
            self._section = dict(attrs)["id"] or ""

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag
        if tag == "section":
            self._section = ""

    def handle_data(self, data: str) -> None:
        self.sections[self._section] = self.sections.get(self._section, "") + data

    def text(self, section: str) -> str:
        return " ".join(self.sections[section].split())


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_example(tmp_path_factory.mktemp("runs") / "demo")


@pytest.fixture(scope="module")
def html(run: Path) -> str:
    return write_report(run).read_text()


@pytest.fixture(scope="module")
def page(html: str) -> Page:
    return Page(html)


def test_all_sections_are_there_and_nothing_is_missing(page: Page) -> None:
    assert [attrs["id"] for tag, attrs in page.tags if tag == "section"] == SECTIONS
    assert "not run" not in " ".join(page.sections.values())


def test_the_page_asks_for_nothing_and_runs_nothing(page: Page, html: str) -> None:
    names = {tag for tag, _ in page.tags}
    assert not names & {"script", "link", "img", "iframe", "object", "embed", "base", "form"}
    for _, attrs in page.tags:
        assert not [name for name in attrs if name.startswith("on")]
        for name in ("src", "href", "xlink:href", "action", "data"):
            assert (attrs.get(name) or "#").startswith("#")
    policy = next(attrs["content"] for _, attrs in page.tags if "http-equiv" in attrs)
    assert policy == "default-src 'none'; style-src 'unsafe-inline'"
    addresses = set(re.findall(r"https?://[^\s\"'<>)]+", html))
    assert addresses <= {"http://www.w3.org/1999/xlink", "http://www.w3.org/2000/svg"}
    assert not re.search(r"@import|url\((?!#)", html)


def test_hostile_text_is_shown_as_text(page: Page, html: str) -> None:
    shown = page.text("rejected")
    assert "</pre><script>alert(1)</script>" in shown
    assert "{{ 7 * 7 }} &amp;" in shown
    assert r"\u202e" in shown
    assert r"\u001b[31m" in shown
    assert r"\ud800" in shown
    assert not re.search("[\x00-\x08\x0b\x0c\x0e-\x1f\u202a-\u202e]", html)


def test_hostile_names_in_charts_are_text(run: Path, tmp_path: Path) -> None:
    chart = plots.score_chart(HOSTILE + "$x^{", np.linspace(0, 1, 9), np.arange(8.0), 0.5)
    assert "script" not in chart
    selection = json.loads((run / "selection.json").read_text())
    selection["languages"][HOSTILE] = selection["languages"].pop("python")
    (tmp_path / "selection.json").write_text(json.dumps(selection))
    assert "<script" not in render_report(tmp_path)


def test_what_a_calibrated_cut_gave_stands_with_its_language(page: Page) -> None:
    assert "the stream gave 1.2M for 1M: filled early after 81.2 %" in page.text("scores")


def test_padding_and_cut_files_stand_with_their_phase(page: Page) -> None:
    assert "0.66 %1,234" in " ".join(page.text("throughput").split())


def test_the_same_run_gives_the_same_page(run: Path, html: str) -> None:
    assert render_report(run) == html


def test_funnel_figures_are_those_of_the_funnel(run: Path, page: Page) -> None:
    found = funnel(run)
    shown = page.text("funnel")
    for count in (total(found.read), total(found.kept), *(count for _, _, count in found.reasons())):
        assert f"{count.documents:,}" in shown
        assert human_bytes(count.bytes) in shown
    for name in found.languages:
        assert (name or "unknown") in shown


def test_rules_show_every_reason_of_a_run_without_bitmaps(run: Path, page: Page) -> None:
    shown = page.text("rules")
    for stage, reason, count in funnel(run).reasons():
        if not reason.startswith("error:"):
            assert f"{reason} {count.documents:,}" in shown, stage
    seconds = funnel(run).seconds
    assert (
        f"{seconds['decontaminate']:.2f} s {100 * seconds['decontaminate'] / sum(seconds.values()):.1f} %"
        in shown
    )
    assert "No two rules hit the same documents" in shown


def test_evidence_of_an_older_or_damaged_file_of_samples_is_shown_as_it_is(tmp_path: Path) -> None:
    write_verdicts(tmp_path, count=2, rows=20)
    (tmp_path / "samples").mkdir()
    old = {"reason": "old", "evidence": {"longest_line": 1841}, "text": "x = <1>"}
    odd = {
        "reason": ["odd"],
        "excerpt": {"parts": [["a", True], "b", [1, False]], "line": 2},
        "pair": {"rows": 3},
    }
    bad = {"reason": "bad", "evidence": "words", "pair": {"left": 1, "right": {}, "rows": [[1, "a"]]}}
    lines = [json.dumps(record) for record in (old, odd, bad)]
    (tmp_path / "samples/rejected.jsonl").write_text("\n".join(lines))
    html = render_report(tmp_path)
    shown = Page(html).text("rejected")
    assert "longest_line1841 x = <1>" in shown
    assert "<mark>a</mark>1" in html
    assert "evidencewords" in shown


def test_headline_says_who_wins_and_how_sure(page: Page) -> None:
    shown = page.text("headline")
    assert "HumanEval, tests passed: continued wins, 12 against 5 of 164" in shown
    assert "McNemar p = 0.14: not more than chance" in shown
    assert "bits per byte: continued wins" in shown
    assert "over paired tasks: more than chance" in shown


def test_evaluation_shows_counts_rates_and_marks_the_best(page: Page, html: str) -> None:
    assert "19/164" in page.text("evaluation")
    assert "11.6 % (7.5 to 17.4)" in page.text("evaluation")
    best = re.findall(r'class="n best"[^>]*>([^<]+)<', html)
    assert best[0] == "19/164"
    assert len(best) == 2


def test_hashes_and_keys_end_the_page(run: Path, page: Page) -> None:
    from hashlib import sha256

    from tests.snowcoder.example_run import CLAIM

    shown = page.text("configuration")
    assert sha256((run / "config.yaml").read_bytes()).hexdigest() in shown
    assert sha256((run / "eval/control.json").read_bytes()).hexdigest() in shown
    assert CLAIM.key in shown


def test_a_run_of_only_curate_says_what_was_not_run(tmp_path: Path) -> None:
    write_verdicts(tmp_path, count=3, rows=200)
    page = Page(render_report(tmp_path))
    assert [attrs["id"] for tag, attrs in page.tags if tag == "section"] == SECTIONS
    for section in ("scores", "training", "throughput", "synthetic", "evaluation"):
        assert "not run" in page.text(section)
    assert "wait for a later stage" in page.text("funnel")
    assert "no model was trained" in page.sections[""]


def test_an_empty_directory_still_has_a_report(tmp_path: Path) -> None:
    page = Page(render_report(tmp_path))
    assert page.text("funnel") == "Funnel Curation: not run."


def test_parts_may_come_one_by_one(run: Path, tmp_path: Path) -> None:
    for parts in (("eval/general.json", "synthesis"), ("train/control", "eval/control.json")):
        for part in parts:
            source = run / part
            for path in [source] if source.is_file() else source.rglob("*.json*"):
                copy = tmp_path / path.relative_to(run)
                copy.parent.mkdir(parents=True, exist_ok=True)
                copy.write_bytes(path.read_bytes())
        page = Page(render_report(tmp_path))
    assert "Continued against control: not run" in page.text("evaluation")
    assert "1,012 of 1,200 requests accepted" in page.text("headline")


def test_damaged_files_are_named_and_the_rest_is_shown(run: Path, tmp_path: Path) -> None:
    metrics = tmp_path / "train/general/metrics.jsonl"
    metrics.parent.mkdir(parents=True)
    metrics.write_text((run / "train/general/metrics.jsonl").read_text()[:-40] + "\n[1]\n")
    (tmp_path / "selection.json").write_text("{")
    page = Page(render_report(tmp_path))
    assert "selection.json: not JSON" in page.text("")
    assert "train/general/metrics.jsonl: 2 unreadable lines" in page.text("")
    assert "not run" not in page.text("training")


def test_a_breach_of_the_accounting_is_said_first(tmp_path: Path) -> None:
    from pipelines.ledger import Ledger
    from tests.snowcoder.example_run import DECONTAMINATE

    write_verdicts(tmp_path, count=4, rows=50)
    Ledger(tmp_path / "ledger").path(DECONTAMINATE, 2).unlink()
    page = Page(render_report(tmp_path))
    assert "The accounting does not add up in 1 shards" in page.text("")
    assert "shard 2, claim: judged without the verdicts of decontaminate" in page.text("")


def test_a_step_repeated_after_a_restart_counts_once(tmp_path: Path) -> None:
    lines = [
        {
            "step": step,
            "tokens": 100 * (step + 1),
            "loss": loss,
            "lr": 0.1,
            "tokens_per_second": 50,
            "data_wait_share": 0,
        }
        for step, loss in ((0, 9.0), (1, 9.0), (1, 2.0))
    ]
    path = tmp_path / "train/general/metrics.jsonl"
    path.parent.mkdir(parents=True)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    shown = Page(render_report(tmp_path)).text("headline")
    assert "200 tokens, 2 steps" in shown
    assert "loss 2.000" in shown
    assert "4.0 s" in shown


def test_a_loss_that_is_not_a_number_does_not_stop_the_report(tmp_path: Path) -> None:
    path = tmp_path / "train/general/metrics.jsonl"
    path.parent.mkdir(parents=True)
    path.write_text('{"step": 0, "tokens": 10, "loss": NaN}\n{"step": 1, "tokens": 20, "loss": Infinity}\n')
    assert "loss nan" in Page(render_report(tmp_path)).text("headline")


def test_a_tie_has_no_winner() -> None:
    same = {"humaneval": {"passed": 3, "total": 10}, "bits_per_byte": {"humaneval": 0.5}}
    table = evaluation_table.build({"continued": same, "control": same})
    assert table is not None
    assert all("no one wins" in line for line in table["findings"])
    assert not any(cell["best"] for row in table["rows"] for cell in row["passed"].values())


@pytest.mark.parametrize(
    ("wins", "losses", "p"), [(0, 0, 1.0), (5, 5, 1.0), (6, 0, 2 / 64), (9, 1, 22 / 1024)]
)
def test_sign_test(wins: int, losses: int, p: float) -> None:
    assert evaluation_table.sign_test(wins, losses) == pytest.approx(p)
    assert evaluation_table.sign_test(losses, wins) == pytest.approx(p)


def test_rebinned_scores_keep_every_token() -> None:
    edges, tokens = np.linspace(0, 1, 65_537), np.zeros(65_536)
    tokens[1000:50_000] = 3.0
    coarse_edges, coarse = plots._rebinned(edges, tokens, 64)
    assert coarse.sum() == tokens.sum()
    assert len(coarse) <= 64
    assert len(coarse_edges) == len(coarse) + 1
    assert (coarse_edges[0], coarse_edges[-1]) == (edges[1000], edges[50_000])


def test_charts_have_no_colours_of_their_own() -> None:
    chart = plots.score_chart("go", np.linspace(0, 1, 9), np.arange(8.0), 0.5)
    assert not re.search(r"#[0-9a-f]{6}", chart)
    assert "var(--accent)" in chart


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0, "0 B"), (999, "999 B"), (999_600, "1 MB"), (1_234_567, "1.23 MB"), (2.8e12, "2.8 TB")],
)
def test_human_bytes(value: float, shown: str) -> None:
    assert human_bytes(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"), [(4.04, "4.0 s"), (65, "1 min 5 s"), (5025, "1 h 23 min"), (20 * 86400, "20.0 days")]
)
def test_human_time(value: float, shown: str) -> None:
    assert human_time(value) == shown


def test_visible_leaves_ordinary_text_alone() -> None:
    text = "naïve 日本語 🙂\tif x:\n\treturn"
    assert visible(text) == text
    assert visible("a\u200bb\x00") == r"a\u200bb\u0000"
