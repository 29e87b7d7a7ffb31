"""Measure students, and say where a gain came from."""

from limbeck.evaluation.compare import Arm, Comparison, compare
from limbeck.evaluation.metrics import classification_metrics
from limbeck.evaluation.results import Metrics, Row, read_metrics, write_metrics
from limbeck.evaluation.statistics import Estimate, Verdict, cautions, estimate, holm, paired_gain, verdicts

__all__ = [
    "Arm",
    "Comparison",
    "Estimate",
    "Metrics",
    "Row",
    "Verdict",
    "cautions",
    "classification_metrics",
    "compare",
    "estimate",
    "holm",
    "paired_gain",
    "read_metrics",
    "verdicts",
    "write_metrics",
]
