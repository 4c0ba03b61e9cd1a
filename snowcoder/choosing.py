"""Phase 2's selection of a run: cuts from recorded scores, and what they gave once the whole order was scored."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.annotator.calibrated import realised
from pipelines.annotator.selection import Selection
from pipelines.ledger import Ledger
from pipelines.phases.continued import choose, histogram_of, score
from pipelines.phases.corpus import Corpus, bytes_per_token
from pipelines.scoring import Annotator, Scoring, scores_of
from snowcoder.files import write_atomically
from snowcoder.progress import say, track

if TYPE_CHECKING:
    from snowcoder.run import Run


REALISED = "selection-realised.json"


def choose_by(run: Run, annotator: Annotator, out: Path) -> Selection:
    """Score the shards that thresholds are set on, and write the selection of phase 2's budget to `out`."""
    config = run.config.continued
    run.tokenizer()
    shards = config.calibration_shards
    total = len(run.corpus.shards[:shards])
    scoring = Scoring(run.corpus.curation, annotator, phase="")
    for line in Ledger(run.corpus.ledger_root).open([scoring.stage]):
        say(f"ledger: {line}")
    for _ in track(score(run.corpus, annotator, shards), total, f"shards scored by {annotator.name}"):
        pass
    unique = config.tokens // config.repeats
    selection = choose(run.corpus, annotator, unique, shards, config.selection)
    selection.write(out)
    say(
        f"{annotator.name}: selected {selection.realised_tokens} of {selection.budget_tokens} budgeted tokens in "
        f"{sum(lang.kept_documents > 0 for lang in selection.languages.values())} languages"
    )
    return selection


def write_realised(corpus: Corpus, annotator: Annotator, selection: Selection) -> None:
    """What each language gave of its budget in stream order, in selection-realised.json beside the verdicts.

    For calibrated cuts, which were set on a sample; exact ones are what was selected.
    """
    out = Path(corpus.root) / REALISED
    out.unlink(missing_ok=True)  # of other cuts
    if selection.mode == "exact":
        return
    ratios = bytes_per_token(corpus)
    scoring = Scoring(corpus.curation, annotator, phase="")
    shards = corpus.shards
    scored = (
        (shard.bytes, histogram_of(table, ratios))
        for shard in shards
        for table in scores_of(scoring, (shard,))
    )
    found = realised(scored, selection, sum(shard.bytes for shard in shards))
    record = {lang: given.model_dump(mode="json") for lang, given in found.items()}
    write_atomically(out, json.dumps(record, indent=1).encode())
    states = [given.status for given in found.values()]
    say(
        f"{annotator.name}: gave {sum(given.tokens for given in found.values())} tokens; of {len(found)} languages "
        f"{states.count('short')} stayed short of their budget, {states.count('filled early')} filled early"
    )
