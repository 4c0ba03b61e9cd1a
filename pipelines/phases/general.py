"""Phase 1, general pretraining (paper 2.2): every kept document, one repository in one language at a time.

"Partition files by language, inside a language by repository, concatenate the repository's files in random order."
No further quality filter. The horizon may be longer than the corpus (500B of 400B tokens): further epochs shuffle
the shards anew.
"""

from __future__ import annotations

from pipelines.packing import KeptDocuments
from pipelines.phases.corpus import Corpus
from pipelines.stream import Plan


def general(corpus: Corpus, epochs: int) -> Plan:
    """The stream of phase 1, live: documents are judged in the same pass in which they are trained on."""
    return Plan(
        shards=corpus.shards,
        order=corpus.order(epochs),
        curation=corpus.curation,
        scoring=None,
        packing=corpus.packing("general", KeptDocuments(corpus.curation)),
        resources=corpus.resources,
    )
