"""Phase 2, continued pretraining (paper 2.3): the annotator's best documents, several times over.

Score every document; in each language keep the best until its share of the token budget is reached, at the natural
mix; go over what was kept four times. The first pass streams while the selected few per cent are teed; later passes
read the tee in a new seeded order.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pipelines.annotator.config import SelectionConfig
from pipelines.annotator.selection import Selection, histogram, merge, select
from pipelines.phases.corpus import Corpus, bytes_per_token
from pipelines.scoring import Annotator, Scoring, TeedDocuments, scores_of, tokens_of
from pipelines.stream import Plan, verdict_stream


def score(corpus: Corpus, annotator: Annotator, shards: int | None = None) -> Iterator[int]:
    """Score the kept documents of the first `shards` shards (None: all). Yields shard numbers as they are committed."""
    scoring = Scoring(corpus.curation, annotator, phase="")
    for row in verdict_stream(corpus.shards[:shards], corpus.curation, scoring, corpus.resources):
        yield row["shard"]


def choose(corpus: Corpus, annotator: Annotator, unique_tokens: int, shards: int | None = None) -> Selection:
    """Thresholds that select `unique_tokens` at the natural mix, from the recorded scores of the first `shards`.

    From a sample of the shards the budget is scaled to the sample's share of the order's bytes.
    """
    ratios = bytes_per_token(corpus)
    sampled = corpus.shards[:shards]
    scoring = Scoring(corpus.curation, annotator, phase="")
    histograms = [
        histogram(table["lang"], table["score"].to_numpy(), tokens_of(table, ratios))
        for table in scores_of(scoring, sampled)
    ]
    share = sum(s.bytes for s in sampled) / max(1, sum(s.bytes for s in corpus.shards))
    budget = round(unique_tokens * share)
    return select(merge(histograms), SelectionConfig(budget_tokens=budget), annotator.name)


def continued(
    corpus: Corpus, annotator: Annotator, thresholds: dict[str, float], repeats: int, phase: str = "continued"
) -> Plan:
    """The stream of phase 2: replay or make the scores, select, tee, and pack what was selected."""
    scoring = Scoring(corpus.curation, annotator, phase, thresholds, tee_root=str(Path(corpus.root) / "tee"))
    return Plan(
        shards=corpus.shards,
        order=corpus.order(repeats),
        curation=corpus.curation,
        scoring=scoring,
        packing=corpus.packing(phase, TeedDocuments(scoring)),
        resources=corpus.resources,
    )
