"""How well logits predict labels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from limbeck.errors import DataError, NonFiniteError

if TYPE_CHECKING:
    from torch import Tensor

CALIBRATION_BINS = 15


def classification_metrics(logits: Tensor, labels: Tensor) -> dict[str, float]:
    """Accuracy, macro F1 and calibration error of a classifier, each between 0 and 1.

    Args:
        logits: ``[n, C]``, before softmax, C >= 2.
        labels: ``[n]`` int64; rows with -100 are not scored.

    Returns: ``accuracy``; ``macro_f1``, the mean over classes that occur in labels or predictions;
        ``calibration_error``, the expected gap between confidence and accuracy over 15 equal bins
        (Guo et al., ICML 2017, arXiv 1706.04599, equation 3).
    Raises: DataError for wrong shapes, labels outside 0..C-1 or no labelled row; NonFiniteError.
    """
    from torchmetrics.functional import classification

    if logits.ndim != 2 or logits.shape[1] < 2 or labels.shape != logits.shape[:1]:
        raise DataError(
            "Scores need logits [n, C] with C >= 2 and labels [n]; "
            f"these are {list(logits.shape)} and {list(labels.shape)}."
        )
    scored = labels != -100
    logits, labels = logits[scored].detach().float(), labels[scored]
    n_classes = logits.shape[1]
    if not len(labels):
        raise DataError("There is no labelled row to score; every label is -100.")
    if not bool(logits.isfinite().all()):
        raise NonFiniteError(f"{int((~logits.isfinite()).any(1).sum())} rows of logits hold NaN or Inf.")
    outside = labels[(labels < 0) | (labels >= n_classes)]
    if len(outside):
        raise DataError(f"Labels must lie in 0..{n_classes - 1} (-100 = none); found {int(outside[0])}.")
    return {
        "accuracy": float(classification.multiclass_accuracy(logits, labels, n_classes, average="micro")),
        "macro_f1": float(classification.multiclass_f1_score(logits, labels, n_classes, average="macro")),
        "calibration_error": float(
            classification.multiclass_calibration_error(
                logits.softmax(1), labels, n_classes, CALIBRATION_BINS
            )
        ),
    }
