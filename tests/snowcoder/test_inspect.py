"""`snowcoder inspect` and the report on a run that was really judged: evidence, pairs, histories, other thresholds."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from pipelines.dedup.config import DedupConfig
from snowcoder.base import UserError
from snowcoder.cli import cli
from snowcoder.documents import Documents, Place
from snowcoder.funnel import funnel, rejected, total
from snowcoder.history import history
from snowcoder.inspect import write_samples
from snowcoder.pairs import pair_of, side_by_side
from snowcoder.redacted import shown_with
from snowcoder.report import render_report
from snowcoder.rule_costs import rule_costs
from snowcoder.samples import Sample, samples
from snowcoder.what_if import what_if
from tests.snowcoder.judged_run import GPL, SECRET, records, write_judged_run

EXPECTED = {
    "one/long.py": ("rules", "long_line"),
    "one/encoded.py": ("rules", "encoded_data"),
    "one/generated.py": ("rules", "generated"),
    "one/empty.py": ("rules", "empty"),
    "two/latin.py": ("rules", "error:invalid_utf8"),
    "two/gpl.py": ("licence", "licence"),
    "two/broken.py": ("syntax", "syntax"),
    "two/leak.py": ("decontaminate", "contaminated"),
    "two/settings.py": ("secrets", "secret:key"),
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_judged_run(tmp_path_factory.mktemp("judged"))


def inspect(run: Path, *options: str) -> Result:
    return CliRunner(env={"COLUMNS": "200", "NO_COLOR": "1"}).invoke(cli, ["inspect", str(run), *options])


def printed(run: Path, *options: str) -> str:
    result = inspect(run, *options)
    assert result.exit_code == 0, result.exception
    return result.stdout


def sample_of(run: Path, reason: str) -> Sample:
    (sample,) = samples(run, [reason], 1)
    return sample


def marked(sample: Sample) -> str:
    return "|".join(piece for piece, is_evidence in sample.excerpt.parts if is_evidence)


def test_each_document_went_for_its_own_reason(run: Path) -> None:
    documents = Documents(run)
    found = {}
    for item in rejected(run):
        document = documents.read(item.shard, [item.row])[item.row]
        found[f"{document['repo']}/{document['path']}"] = (item.stage, item.reason)
    assert {name: found[name] for name in EXPECTED} == EXPECTED
    claimed = sorted(reason for name, (_, reason) in found.items() if name not in EXPECTED)
    assert claimed == ["exact_duplicate", "near_duplicate"]


def test_the_evidence_is_marked(run: Path) -> None:
    assert re.match(r"x = \[1, 1, 1", marked(sample_of(run, "long_line")))
    assert marked(sample_of(run, "encoded_data")).strip().startswith("AAECAwQFBgcICQ")
    assert marked(sample_of(run, "generated")) == "This file is generated"
    assert "GNU General\n# Public License" in marked(sample_of(run, "licence"))
    assert "oops" in marked(sample_of(run, "syntax"))
    assert marked(sample_of(run, "contaminated")).lstrip().startswith("Check if in given list of numbers")
    assert sample_of(run, "error:invalid_utf8").excerpt.text == "invalid_utf8"


def test_evidence_is_measurements_beside_their_limits(run: Path) -> None:
    long = sample_of(run, "long_line").evidence["longest_line"]
    assert re.fullmatch(r"2,7\d\d > 1,000", long)
    assert re.fullmatch(r"[\d,]+ > 1,024", sample_of(run, "encoded_data").evidence["encoded_run"])
    broken = sample_of(run, "syntax").evidence
    assert re.fullmatch(r"0\.\d+ > 0\.\d+", broken["error_share"])
    leak = sample_of(run, "contaminated").evidence
    assert (leak["benchmark"], leak["task"]) == ("humaneval", "HumanEval/0")


def test_a_secret_is_never_shown(run: Path) -> None:
    sample = sample_of(run, "secret:key")
    assert marked(sample) == "<KEY>"
    assert sample.evidence["key"] == 1
    write_samples(run)
    outputs = [printed(run, "--reason", "secret:key"), printed(run, "--document", "two:settings.py")]
    outputs += [(run / "samples" / "rejected.jsonl").read_text(), render_report(run)]
    for text in outputs:
        assert "<KEY>" in text or "&lt;KEY&gt;" in text
        assert SECRET not in text


def test_secrets_are_hidden_whatever_the_run_does_about_them(run: Path) -> None:
    curation = Documents(run).config.curation.model_copy(update={"secrets": None})
    text = f"# é This file is generated\naws_key = '{SECRET}'\n"
    document = {
        "row": 0,
        "repo": "",
        "path": "a.py",
        "lang": "Python",
        "license": "",
        "size": 9,
        "text": text,
    }
    shown, spans = shown_with([(4, 26), (27, len(text))], document | {"fault": None}, curation)
    assert shown == text.replace(SECRET, "<KEY>")
    assert [shown[begin:end] for begin, end in spans] == ["This file is generated", "aws_key = '<KEY>'\n"]


def test_a_pair_shows_estimated_and_true_similarity(run: Path) -> None:
    documents = Documents(run)
    (item,) = rejected(run, "near_duplicate")
    pair = pair_of(documents, Place(item.shard, item.row))
    texts = [
        documents.read(*_place(side.place))[_place(side.place)[1][0]]["text"]
        for side in (pair.left, pair.right)
    ]
    assert pair.exact == pytest.approx(_jaccard(*texts, DedupConfig().shingle))
    assert pair.estimated == pytest.approx(pair.exact, abs=0.15)
    changed = [(row.left, row.right) for row in pair.rows if not row.same]
    assert changed
    assert all("dialekt" in left + right for left, right in changed)
    shown = printed(run, "--pair", f"{item.shard}:{item.row}")
    assert f"{pair.estimated:.3f} estimated, {pair.exact:.3f} exact" in shown
    assert "dialekt" in shown
    assert "estimated" in printed(run, "--reason", "near_duplicate")


def _place(text: str) -> tuple[int, list[int]]:
    shard, row = text.split(":")
    return int(shard), [int(row)]


def _jaccard(left: str, right: str, shingle: int) -> float:
    """Of the sets of runs of `shingle` words, by hand."""

    def shingles(text: str) -> set[tuple[str, ...]]:
        words = re.findall(r"[A-Za-z0-9_]+", text)
        return {tuple(words[i : i + shingle]) for i in range(len(words) - shingle + 1)}

    a, b = shingles(left), shingles(right)
    return len(a & b) / len(a | b)


def test_side_by_side_shows_differences_in_context() -> None:
    left = [f"line {i}" for i in range(100)]
    right = [*left[:50], "new", *left[50:80], "other", *left[81:]]
    rows, equal = side_by_side("\n".join(left), "\n".join(right))
    assert equal == 99
    different = [(row.left_number, row.left, row.right_number, row.right) for row in rows if not row.same]
    assert different == [(None, "", 51, "new"), (81, "line 80", 82, "other")]
    assert len(rows) == 2 + 4 * 3
    assert side_by_side("a\nb", "a\nb") == ([], 2)


def test_why_a_file_is_missing(run: Path) -> None:
    shown = printed(run, "--document", "two:gpl.py")
    assert "rejected by the stage licence, reason licence" in shown
    stages = re.findall(r"^(\w+): (\w+)", shown, re.MULTILINE)
    assert stages[:3] == [("language", "passed"), ("rules", "passed"), ("licence", "licence")]
    assert re.search(r"long_line\s+longest_line \d+ ≤ 1,000", shown)
    assert "GNU General" in shown
    documents = Documents(run)
    kept = history(documents, documents.locate("one:kept.py"))
    assert kept.outcome == "kept"
    assert [step.stage for step in kept.steps] == list(documents.verdicts.stages)
    assert not any(line.against for step in kept.steps for line in step.lines)
    long = history(documents, documents.locate("one:long.py"))
    assert ("long_line", True) in [(line.cells[0], line.against) for line in long.steps[-1].lines]


def test_a_document_that_was_never_read_is_the_users_to_know(run: Path) -> None:
    documents = Documents(run)
    for name, problem in (
        ("one:nothing.py", "no such file among the"),
        ("nothing", "name a document as REPO:PATH or SHARD:ROW"),
    ):
        with pytest.raises(UserError, match=problem):
            documents.locate(name)
    with pytest.raises(UserError, match="no verdict on such a document"):
        history(documents, Place(0, 9999))
    with pytest.raises(UserError, match="no verdict of the claim on it"):
        pair_of(documents, documents.locate("one:long.py"))
    with pytest.raises(UserError, match="duplicates no document of this run"):
        pair_of(documents, documents.locate("one:kept.py"))


def test_damaged_verdicts_are_named_with_a_remedy(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "copy")
    documents = Documents(tmp_path / "copy")
    place = documents.locate("two:gpl.py")
    path = documents.verdicts.folders["licence"] / f"{place.shard:08d}.arrow"
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(UserError, match=rf"shard {place.shard}, licence: damaged verdicts .* delete"):
        history(documents, place)


def test_other_thresholds_give_what_judging_with_them_gives(run: Path, tmp_path: Path) -> None:
    limits = {"max_encoded_run": 5000, "max_lines": 500}
    found = what_if(run, [f"curation.rules.limits.{name}={value}" for name, value in limits.items()])
    judged = write_judged_run(tmp_path, rules={"limits": limits})
    expected = {
        reason: total(c) for (stage, reason), c in funnel(judged).rejected.items() if stage == "rules"
    }
    after = {reason: pair[1] for (stage, reason), pair in found.reasons.items() if stage == "rules"}
    assert {reason: count for reason, count in after.items() if count.documents} == expected
    recorded = {key: total(counts) for key, counts in funnel(run).rejected.items()}
    assert {key: pair[0] for key, pair in found.reasons.items() if pair[0].documents} == recorded
    assert found.read == total(funnel(run).read)
    assert found.kept[0] == total(funnel(run).kept)
    assert found.passed[1].documents == found.read.documents - sum(c.documents for c in expected.values())
    assert found.admitted.keys() == {"encoded_data"}
    assert found.rejected.keys() == {"many_lines"}
    gone = sum(count.documents for count in found.rejected.values())
    came = sum(count.documents for count in found.admitted.values())
    assert found.passed[1].documents - found.passed[0].documents == came - gone


def test_the_recorded_thresholds_change_nothing(run: Path) -> None:
    found = what_if(run, ["curation.rules.limits.max_line=1000"])
    assert found.changes == []
    assert all(before == after for before, after in found.reasons.values())
    assert found.kept[0] == found.kept[1]
    assert not found.admitted
    assert not found.rejected


def test_what_if_says_what_it_shows_and_what_it_cannot(run: Path) -> None:
    shown = printed(run, "--set", "curation.rules.limits.max_line=5000")
    assert "curation.rules.limits.max_line: 1000 -> 5000" in shown
    assert "newly admitted: 1 documents" in shown
    assert "would still have to pass the later stages" in shown
    for setting, problem in (
        ("curation.rules.generated_lines=2", "generated_lines needs the text"),
        ("curation.rules.limits.max_comments=0.5", "max_comments needs the text"),
        ("curation.dedup.bands=4", "only curation.rules.* can be judged again"),
    ):
        with pytest.raises(UserError, match=re.escape(problem)):
            what_if(run, [setting])


def test_a_preset_is_applied_as_far_as_was_measured(run: Path) -> None:
    found = what_if(run, ["curation.rules.limits.max_line=123"], preset="opencoder")
    assert any(name.startswith("max_duplicate_lines") for name in found.left_out)
    assert "limits.max_line: 1000 -> 123" in found.changes
    assert found.rejected["long_line"].documents == 2
    with pytest.raises(UserError, match=r"no such preset; there are .*opencoder"):
        what_if(run, preset="nonsense")


def test_verdicts_of_other_rules_than_the_recipes_are_not_judged_again(run: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    config = copy / "config.yaml"
    config.write_text(config.read_text().replace("max_line: 1000\n", "max_line: 1001\n", 1))
    with pytest.raises(UserError, match="its rules are not those of the verdicts"):
        what_if(copy, [])


def test_the_plain_table_and_one_languages(run: Path) -> None:
    shown = printed(run)
    assert re.search(r"long_line .*\b1\b", shown)
    assert "always fire together" in shown
    assert re.search(r"never fire \(\d+\): .*unknown_language", shown)
    assert re.search(r"switched off \(\d+\): .*few_lines", shown)
    assert re.search(r"│ decontaminate +│ +[\d.]+ │ +[\d.]+ │", shown), "the cost of a stage"
    assert "Funnel, Python" in printed(run, "--language", "Python")
    found = rule_costs(run)
    assert (found.read, found.kept) == (total(funnel(run).read), total(funnel(run).kept))
    assert found.reasons == funnel(run).reasons()
    assert rule_costs(run, "Python").read.documents == total(funnel(run).read).documents
    assert rule_costs(run, "Go").read.documents == 0
    for options, problem in (
        (["--language", "Go"], "no document of it was read; there are Python"),
        (["--reason", "nonsense"], "nothing was rejected for that; reasons here:"),
        (["--reason", "syntax", "--document", "x"], "give one of them"),
    ):
        error = inspect(run, *options).exception
        assert isinstance(error, UserError)
        assert problem in str(error)


def test_hostile_text_does_not_reach_the_terminal(run: Path) -> None:
    shown = printed(run, "--reason", "generated")
    assert r"\u202e \u001b[31m" in shown
    assert "\x1b" not in shown
    assert "\u202e" not in shown


def test_the_report_shows_rules_and_marked_evidence(run: Path) -> None:
    write_samples(run)
    html = render_report(run)
    assert "<mark>This file is generated</mark>" in html
    assert "<mark>&lt;KEY&gt;</mark>" in html
    assert "&lt;/pre&gt;&lt;script&gt;alert(1)" in html
    assert "<script" not in html
    assert re.search(r"[\d.]+ estimated, [\d.]+ exact", html)
    assert '<table class="diff">' in html
    assert "long_<wbr>line" in html
    reasons = [record["reason"] for record in records(run, "samples/rejected.jsonl")]
    assert set(reasons) == {reason for _, reason, _ in funnel(run).reasons()}
    assert render_report(run) == html


def test_documents_are_read_as_a_stage_met_them(tmp_path: Path) -> None:
    licence = {"policy": "any", "strip_headers": True}
    documents = Documents(write_judged_run(tmp_path, licence=licence, secrets={"key": "redact"}))
    place = documents.locate("two:gpl.py")

    def starts_with_header(stage: str) -> bool:
        return documents.read(place.shard, [place.row], stage)[place.row]["text"].startswith(GPL)

    assert [starts_with_header(stage) for stage in ("", "licence", "syntax", "claim")] == [
        True,
        True,
        False,
        False,
    ]
    place = documents.locate("two:settings.py")
    assert "<KEY>" in documents.read(place.shard, [place.row], "claim")[place.row]["text"]
    assert SECRET in documents.read(place.shard, [place.row], "secrets")[place.row]["text"]
