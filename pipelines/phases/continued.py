"""Phase 2, continued pretraining (paper 2.3): the annotator's best documents, several times over.

Score every document; in each language keep the best until its share of the token budget is reached, at the natural
mix or a given one; go over what was kept four times. The first pass streams while the selected few per cent are
teed; later passes read the tee in a new seeded order.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pyarrow as pa

from pipelines.annotator.calibrated import select_calibrated
from pipelines.annotator.config import SelectionConfig
from pipelines.annotator.exact import select_exact
from pipelines.annotator.selection import Selection, histogram
from pipelines.phases.corpus import Corpus, bytes_per_token
from pipelines.scoring import Annotator, Scoring, TeedDocuments, scored_documents, scores_of, tokens_of
from pipelines.stream import Plan, verdict_stream


def score(corpus: Corpus, annotator: Annotator, shards: int | None = None) -> Iterator[int]:
    """Score the kept documents of the first `shards` shards (None: all). Yields shard numbers as they are committed."""
    scoring = Scoring(corpus.curation, annotator, phase="")
    for row in verdict_stream(corpus.shards[:shards], corpus.curation, scoring, corpus.resources):
        yield row["shard"]


def choose(
    corpus: Corpus,
    annotator: Annotator,
    unique_tokens: int,
    shards: int | None = None,
    selection: SelectionConfig | None = None,
) -> Selection:
    """Cuts that select `unique_tokens`, from the recorded scores of the first `shards`.

    From all shards (None): exactly. From a sample: the budget is scaled to the sample's share of the order's bytes,
    and the interval of what all will give is in the result.
    """
    cfg = (selection or SelectionConfig()).model_copy(update={"budget_tokens": unique_tokens})
    ratios = bytes_per_token(corpus)
    sampled = corpus.shards[:shards]
    scoring = Scoring(corpus.curation, annotator, phase="")
    if len(sampled) == len(corpus.shards):
        return select_exact(lambda: scored_documents(scoring, sampled, ratios), cfg, annotator.name)
    histograms = [histogram_of(table, ratios) for table in scores_of(scoring, sampled)]
    sizes = [shard.bytes for shard in sampled]
    return select_calibrated(histograms, sizes, [shard.bytes for shard in corpus.shards], cfg, annotator.name)


def histogram_of(scores: pa.Table, ratios: dict[str, float]) -> pa.Table:
    """One shard's recorded scores as a histogram."""
    return histogram(scores["lang"], scores["score"].to_numpy(), tokens_of(scores, ratios))


def continued(
    corpus: Corpus,
    annotator: Annotator,
    thresholds: Mapping[str, float],
    repeats: int,
    phase: str = "continued",
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
