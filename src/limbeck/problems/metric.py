"""How a task is scored: which way is better, and how a value and a gain are told to people."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Metric:
    """One measure of a task.

    Args:
        name: as in results, ``accuracy``.    title: for people; default: from the name.
        better: ``higher`` or ``lower`` values.
        told: a share is told in ``percent`` and its gains in points; anything else ``plain``.
        negligible: a mean gain below this whose interval holds 0 is called no help.
    """

    name: str
    better: Literal["higher", "lower"] = "higher"
    told: Literal["percent", "plain"] = "percent"
    negligible: float = 0.03
    title: str = ""

    def __str__(self) -> str:
        return self.title or self.name.replace("_", " ").capitalize()

    @property
    def unit(self) -> str:
        """What stands behind a value: ``%``, or nothing."""
        return "%" if self.told == "percent" else ""

    @property
    def scale(self) -> float:
        """From a value to the number that is told."""
        return 100.0 if self.told == "percent" else 1.0

    def gain(self, value: float, base: float) -> float:
        """By how much ``value`` is better than ``base``."""
        return value - base if self.better == "higher" else base - value

    def number(self, value: float) -> str:
        """``88.2`` of 0.882 in percent; ``0.882`` plainly."""
        return f"{100 * value:.1f}" if self.told == "percent" else f"{value:.3f}"

    def text(self, value: float) -> str:
        """``88.2%``, or ``0.882``."""
        return self.number(value) + self.unit

    def signed(self, gain: float) -> str:
        """A gain with its sign, ``+39.2`` (points) or ``+0.392``, never ``-0.0``."""
        text = f"{100 * gain:+.1f}" if self.told == "percent" else f"{gain:+.3f}"
        return text.replace("-", "+") if not text.strip("-+0.") else text

    def points(self, gain: float, low: float | None = None, high: float | None = None) -> str:
        """A gain in a sentence, with its interval: ``+39.2 points [+32.9, +45.6]``."""
        text = f"{self.signed(gain)} points" if self.told == "percent" else self.signed(gain)
        return text if low is None or high is None else f"{text} [{self.signed(low)}, {self.signed(high)}]"


ACCURACY = Metric("accuracy")
MATTHEWS = Metric("matthews", title="Matthews correlation")
F1 = Metric("f1", title="F1")
MACRO_F1 = Metric("macro_f1", title="Macro F1")
CALIBRATION = Metric("calibration_error", better="lower", negligible=0.01)
BRIER = Metric("brier", better="lower", told="plain", negligible=0.01, title="Brier score")
PEARSON = Metric("pearson", title="Pearson's r")
SPEARMAN = Metric("spearman", title="Spearman's rho")
RMSE = Metric("rmse", better="lower", told="plain", negligible=0.0, title="RMSE")
MICRO_F1 = Metric("micro_f1", title="Micro F1")
AVERAGE_PRECISION = Metric("average_precision", title="Mean average precision")
# How near a student is to its teacher on rows that both answered, whatever the problem.
AGREEMENT = Metric("teacher_agreement", title="Agreement with the teacher")
TEACHER_GAP = Metric("teacher_divergence", better="lower", told="plain", title="Divergence from the teacher")

MEAN_IOU = Metric("mean_iou", title="Mean IoU")
COSINE = Metric("cosine", told="plain", negligible=0.01, title="Cosine similarity")
DENOISING_ERROR = Metric("denoising_error", better="lower", told="plain", negligible=0.01)
SLICED_WASSERSTEIN = Metric("sliced_wasserstein", better="lower", told="plain", negligible=0.01)
NLL = Metric("nll", better="lower", told="plain", negligible=0.01, title="Negative log-likelihood a token")
EXACT_MATCH = Metric("exact_match")
ROUGE_L = Metric("rouge_l", title="ROUGE-L")
OPTION_ACCURACY = Metric("option_accuracy", title="Accuracy by the likelihood of options")
OPTION_MEAN_ACCURACY = Metric(
    "option_mean_accuracy", title="Accuracy by the mean likelihood of options' tokens"
)

# Metrics of the problems that ship, for results that only name theirs.
METRICS = {
    metric.name: metric
    for metric in (
        ACCURACY, MATTHEWS, F1, MACRO_F1, CALIBRATION, BRIER, PEARSON, SPEARMAN, RMSE, MICRO_F1, AVERAGE_PRECISION,
        MEAN_IOU, COSINE, DENOISING_ERROR, SLICED_WASSERSTEIN, NLL, EXACT_MATCH, ROUGE_L, OPTION_ACCURACY,
        OPTION_MEAN_ACCURACY, AGREEMENT, TEACHER_GAP,
    )
}  # fmt: skip


def metric_named(metric: str | Metric) -> Metric:
    """The metric itself, or the one of that name; of a name that no problem here has, one told in percent."""
    return metric if isinstance(metric, Metric) else METRICS.get(metric, Metric(metric))
