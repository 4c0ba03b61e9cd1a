"""What `metrics.json` says of one annotator: how it was trained, and how well it tells benchmark code apart.

The measure is the paper's Figure 2: the ROC-AUC of benchmark solutions against corpus files that the annotator
never saw, within one language, with the lengths matched, so that neither language nor length can earn it.
`report.html` and the annotator page read this file; `snowcoder annotator compare` prints it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from snowcoder.base import Config, UserError

FILE = "metrics.json"
LENGTH, BAG = "length", "bag_of_tokens"
"""Names of the two baselines in `Auc.scorer`: log bytes alone (the better direction, learnt in training), and
logistic regression on hashed token counts of the same training documents."""


class Estimate(Config):
    """A value with its 95 % interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


class Auc(Config):
    """ROC-AUC of one scorer on one comparison."""

    scorer: str
    """The annotator's name, `length` or `bag_of_tokens`."""
    auc: Estimate
    lead: Estimate | None = None
    """The annotator's AUC minus this scorer's on the same documents (paired); None for the annotator itself."""


class Comparison(Config):
    """Benchmark solutions of one language against unseen corpus files of like length."""

    benchmark: str
    """Group name, e.g. "humaneval-x"."""
    language: str
    """A language, or "mean": the unweighted mean over the benchmark's languages."""
    positives: int
    negatives: int
    repositories: int
    """Of the negatives: intervals resample these, since files of one repository are alike."""
    unmatched: int
    """Solutions without an unseen file of like length (left out)."""
    median_bytes: tuple[float, float]
    """Of the solutions and of the matched files."""
    scorers: tuple[Auc, ...]
    """The annotator first, then the baselines."""
    winner: str
    """Highest AUC if its lead over every other is clear of zero (95 %, paired), else "tie"."""

    def of(self, scorer: str) -> Auc:
        return next(auc for auc in self.scorers if auc.scorer == scorer)


class HeldOut(Config):
    """Documents that training never saw, whole repositories at a time."""

    auc: Estimate | None
    """Good against other; for a regression: at or above the middle of the label scale against below."""
    length_auc: float | None
    like_size_auc: float | None
    """Over pairs whose sizes differ by less than 2 x; None: there is no such pair."""
    bag_auc: float | None
    documents: int
    positives: int
    negatives: int
    groups: int
    rmse: float | None = None
    """Regression: on the labels' scale."""
    spearman: Estimate | None = None
    """Regression: rank correlation with the labels."""
    log_loss: tuple[float, float] | None = None
    """Binary: before and after calibration."""
    calibration_error: tuple[float, float] | None = None
    """Binary: expected calibration error over ten equal bins, before and after."""
    outputs: dict[str, float] = {}
    """Several outputs: each one's rank correlation with its labels."""


class SourceUse(Config):
    """What one source of the training set gave."""

    name: str
    kind: str
    role: Literal["positive", "labelled"]
    read: int
    kept: int
    dropped: dict[str, int]
    stands_in_for: str = ""
    """The published data set that this source takes the place of, when that is not there."""
    sha256: dict[str, str] = {}
    """File name -> hash of its bytes."""


class LabelUse(Config):
    """Labels that a language model gave."""

    model: str
    model_hash: str
    parameters: int
    noise: bool
    """The model is smaller than `labels.noise_below`: take the labels, and all that is learnt from them, as noise."""
    asked: int
    parsed: int
    unparsed: dict[str, int]
    """Verdicts on answers that gave no label."""
    histogram: dict[str, int]
    """Label (rounded down) -> documents."""


class AnnotatorMetrics(Config):
    """All of `metrics.json`."""

    annotator: str
    recipe: str
    """What the paper or a later work calls it, with its source."""
    task: Literal["binary", "regression"]
    outputs: tuple[str, ...]
    encoder: str
    finetuned: bool
    window_tokens: int
    key: str
    """Of the recipe and the curation it was trained under."""
    noise: bool
    """Trained on labels that are noise; its figures say nothing of the recipe."""
    seed: int
    workers: int
    steps: int
    best_step: int
    """Early stopping kept the weights of this step."""
    train_positive: int
    train_negative: int
    languages: dict[str, tuple[int, int]]
    """Positives and negatives (regression: labelled documents, 0) used, by language."""
    temperature: float | None
    per_language: tuple[str, ...]
    """Languages with a head of their own."""
    windows: int
    embed_seconds: float
    train_seconds: float
    documents_per_second: float
    held_out: HeldOut
    quality: tuple[Comparison, ...] = ()
    """Empty when no benchmark with solutions is there."""
    sources: tuple[SourceUse, ...] = ()
    labels: LabelUse | None = None

    def line(self) -> str:
        held = self.held_out
        noise = " (noise: labels of a small model)" if self.noise else ""
        measured = f"held-out ROC-AUC {held.auc}" if held.auc else "no held-out ROC-AUC"
        wins = [c for c in self.quality if c.winner == self.annotator]
        against = (
            f"; wins {len(wins)} of {len(self.quality)} comparisons with benchmarks" if self.quality else ""
        )
        return f"{self.annotator}: {measured} on {held.documents} documents of {held.groups} groups{against}{noise}"

    @classmethod
    def read(cls, directory: Path) -> AnnotatorMetrics:
        """Raises UserError when the annotator was never trained or the file is of another version."""
        path = directory / FILE
        try:
            return cls.model_validate_json(path.read_bytes())
        except FileNotFoundError as error:
            raise UserError(f"{path}: there is no such annotator; run `snowcoder annotator train`") from error
        except ValidationError as error:
            raise UserError(
                f"{path}: not of this version ({error.error_count()} faults); train the annotator again"
            ) from error
