"""RUN/annotators.html: the run's annotators side by side, before anything is trained on their selections.

`snowcoder annotator compare` collects the diagnostics (RUN/annotators/diagnostics.json: a sample of scored documents,
their texts read again from the source) and writes the page, which is a function of the run directory: readable
offline, without scripts. Where documents were not scored or the source is gone, the page says so.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from pydantic import ValidationError

from pipelines.annotator import diagnostics
from pipelines.annotator.diagnostics import SAMPLE, Diagnostics, diagnose
from pipelines.annotator.quality import AnnotatorMetrics
from pipelines.annotator.selection import LanguageSelection, Selection
from pipelines.curation import kept_documents
from pipelines.schema import ordinal
from pipelines.scoring import Scoring
from snowcoder import plots_annotator
from snowcoder.annotation import FOLDER, recorded, trained
from snowcoder.base import UserError
from snowcoder.files import write_atomically
from snowcoder.pages import environment
from snowcoder.plots import score_chart

if TYPE_CHECKING:
    from pipelines.schema import Shard
    from snowcoder.run import Run

PAGE = "annotators.html"
DIAGNOSTICS = "diagnostics.json"
SAMPLED = 3000  # documents
LANGUAGES = 12  # whose selections are drawn
READ_BYTES = 256 << 20  # raw text at the front of the order from which they come


def write_annotator_page(run_dir: str | Path, collect: bool = True) -> Path:
    """Write RUN/annotators.html and return its path; `collect` first makes the diagnostics anew.

    Raises UserError when no annotator is trained.
    """
    root = Path(run_dir)
    found = trained(root)
    if not found:
        raise UserError(
            f"{root / FOLDER}: no trained annotator; run `snowcoder annotator train` with this --out"
        )
    problem = ""
    if collect:
        try:
            write_diagnostics(root)
        except UserError as error:  # the source may be gone; what was collected before still stands
            problem = str(error)
    path = root / PAGE
    write_atomically(path, render(root, found, problem).encode())
    return path


def write_diagnostics(root: Path) -> Path | None:
    """Diagnose all scored annotators of a run from a sample of documents; None when none has scored a shard."""
    from snowcoder.config import load_config
    from snowcoder.run import Run

    run = Run(load_config(root / "config.yaml"), root)
    scorings = {
        name: Scoring(run.corpus.curation, recorded(run, name).annotator, phase="")
        for name in trained(run.root)
    }
    shards = _scored_by_all(run, scorings)
    scorings = {name: s for name, s in scorings.items() if shards and _has(s, shards[0])}
    if not scorings:
        return None
    sample, scores, selected = _sample(run, scorings, shards)
    result = diagnose(
        sample, scores, selected, run.config.curation.dedup, shards=len(shards), seed=run.config.seed
    )
    path = run.root / FOLDER / DIAGNOSTICS
    write_atomically(path, result.model_dump_json(indent=1).encode())
    return path


def _has(scoring: Scoring, shard: Shard) -> bool:
    return scoring.ledger.meta(scoring.stage, shard.shard, shard.prefix) is not None


def _scored_by_all(run: Run, scorings: dict[str, Scoring]) -> list[Shard]:
    """The front of the order that every annotator has scored which has scored its first shard."""
    found: list[Shard] = []
    size = 0
    for shard in run.corpus.shards:
        if size >= READ_BYTES:
            break
        has = {name for name, scoring in scorings.items() if _has(scoring, shard)}
        if not found:
            scorings = {name: scorings[name] for name in has}
        if not has or set(scorings) - has:
            break
        found.append(shard)
        size += shard.bytes
    return found


def _sample(
    run: Run, scorings: dict[str, Scoring], shards: list[Shard]
) -> tuple[pa.Table, dict[str, np.ndarray], dict[str, np.ndarray]]:
    """(documents, scores, whether selected) of a seeded sample of what these shards' scores are of."""
    first = next(iter(scorings.values()))
    tables: dict[int, dict[str, pa.Table]] = {
        shard.shard: {name: s.ledger.read(s.stage, shard.shard, shard.prefix) for name, s in scorings.items()}
        for shard in shards
    }
    places = {
        shard.shard: np.asarray(ordinal(shard.shard, _column(tables[shard.shard], "row").astype(np.int64)))
        for shard in shards
    }
    everything = np.concatenate(list(places.values()))
    drawn = set(everything[diagnostics.draw(everything, SAMPLED, run.config.seed)].tolist())
    sizes = (
        pa.concat_tables(
            [next(iter(of_shard.values())).select(["repo", "size"]) for of_shard in tables.values()]
        )
        .group_by("repo")
        .aggregate([("size", "sum")])
    )
    repo_bytes = dict(zip(sizes["repo"].to_pylist(), sizes["size_sum"].to_pylist(), strict=True))
    cuts = {name: _selection(run.root, name) for name in scorings}
    texts: list[pa.Table] = []
    scores: dict[str, list[np.ndarray]] = {name: [] for name in scorings}
    selected: dict[str, list[np.ndarray]] = {name: [] for name, cut in cuts.items() if cut}
    for shard in shards:
        mine = np.array([place in drawn for place in places[shard.shard].tolist()], bool)
        if not mine.any():
            continue
        documents = pa.concat_tables(list(kept_documents(shard, first.curation))).filter(pa.array(mine))
        repo = [repo_bytes.get(name, 0) for name in documents["repo"].to_pylist()]
        documents = documents.append_column("repo_bytes", pa.array(repo, pa.int64()))
        texts.append(documents.select(SAMPLE.names).cast(SAMPLE))
        for name, table in tables[shard.shard].items():
            table = table.filter(pa.array(mine))
            score = table["score"].to_numpy()
            scores[name].append(score)
            if cut := cuts[name]:
                taken = cut.selects(table["lang"], score, places[shard.shard][mine], table["repo"])
                selected[name].append(taken)
    return (
        pa.concat_tables(texts),
        {name: np.concatenate(parts) for name, parts in scores.items()},
        {name: np.concatenate(parts) for name, parts in selected.items()},
    )


def _column(tables: dict[str, pa.Table], name: str) -> np.ndarray:
    return next(iter(tables.values()))[name].to_numpy()


def _selection(root: Path, name: str) -> Selection | None:
    path = root / FOLDER / name / "selection.json"
    return Selection.read(path) if path.exists() else None


# -- the page -------------------------------------------------------------------------------------------------------


def render(root: Path, found: dict[str, AnnotatorMetrics], problem: str = "") -> str:
    """The page as text. The same run directory gives the same page."""
    from markupsafe import Markup

    made = environment()
    report, _, _ = made.loader.get_source(made, "report.html.j2")  # type: ignore[union-attr]
    style = re.search(r"<style>.*?</style>", report, re.DOTALL)  # both pages look the same
    diagnosis, fault = _diagnostics(root)
    selections = {name: selection for name in found if (selection := _selection(root, name))}
    agreement = diagnosis.agreement if diagnosis else {}
    return made.get_template("annotators.html.j2").render(
        name=root.resolve().name,
        style=Markup(style.group() if style else ""),
        annotators=found,
        problems=[line for line in (problem, fault) if line],
        diagnostics=diagnosis,
        selections=selections,
        auc_charts=_auc_charts(found),
        agreement=plots_annotator.agreement_chart(agreement) if len(agreement) > 1 else "",
        bias=_bias(diagnosis) if diagnosis else [],
        scores={name: _scores(name, selection) for name, selection in selections.items()},
    )


def _scores(name: str, selection: Selection) -> list[tuple[str, LanguageSelection, str]]:
    """(title, selection, chart) of the languages with most tokens."""
    found = []
    for lang, own in sorted(selection.languages.items(), key=lambda item: -item[1].tokens)[:LANGUAGES]:
        edges, tokens = (np.asarray(part, np.float64) for part in (own.histogram.edges, own.histogram.tokens))
        found.append((lang or "unknown", own, score_chart(name + lang, edges, tokens, own.threshold)))
    return found


def _diagnostics(root: Path) -> tuple[Diagnostics | None, str]:
    path = root / FOLDER / DIAGNOSTICS
    try:
        return Diagnostics.model_validate_json(path.read_bytes()), ""
    except FileNotFoundError:
        return None, ""
    except ValidationError as error:
        return None, f"{path.name}: not of this version ({error.error_count()} faults); compare again"


def _places(found: dict[str, AnnotatorMetrics]) -> list[tuple[str, str]]:
    return sorted({(c.benchmark, c.language) for metrics in found.values() for c in metrics.quality})


def _auc_charts(found: dict[str, AnnotatorMetrics]) -> list[tuple[str, str]]:
    """A chart a benchmark: per language every annotator and the baselines, with their intervals."""
    charts = []
    for benchmark in sorted({benchmark for benchmark, _ in _places(found)}):
        rows: dict[str, dict[str, tuple[float, float, float]]] = {}
        for name, metrics in found.items():
            for comparison in metrics.quality:
                if comparison.benchmark != benchmark:
                    continue
                for auc in comparison.scorers:
                    title = auc.scorer if auc.scorer == name else f"{auc.scorer} ({name})"
                    if auc.scorer != name and len(found) > 1 and auc.scorer == "length":
                        title = auc.scorer  # the same documents for all annotators of a run
                    place = rows.setdefault(comparison.language, {})
                    place.setdefault(title, (auc.auc.value, auc.auc.low, auc.auc.high))
        charts.append((benchmark, plots_annotator.auc_chart(benchmark, rows)))
    return charts


def _bias(found: Diagnostics) -> list[dict[str, Any]]:
    return [
        {
            "annotator": one.annotator,
            "length_correlation": one.length_correlation,
            "charts": [
                (kind, plots_annotator.bias_chart(one.annotator, kind, groups))
                for kind, groups in one.bias.items()
                if groups
            ],
        }
        for one in found.annotators
    ]
