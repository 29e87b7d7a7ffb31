"""Two dimensions of what teacher and student see, side by side in one picture."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from limbeck.errors import DataError, NonFiniteError

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

MAX_POINTS = 400
CAPTION = (
    "Each cloud is an orthogonal projection (turned, never stretched) onto the plane in which its class "
    "means come nearest to one ring of classes, whose order is that of the first cloud. The plane is found "
    "on half of the points; the other half is shown. Clouds are centred and divided by their own spread, so "
    "points near the middle belong to features that do not tell classes apart."
)


def feature_map(
    features_by_modality: Mapping[str, Tensor],
    labels: Tensor | Mapping[str, Tensor],
    *,
    class_names: Sequence[str] | None = None,
) -> dict[str, Any]:
    r"""A two-dimensional map of features of several modalities, of any widths, deterministic.

    .. math:: P = \arg\min_{P^\top P = I_2} \|M P - A\|^2 = U V^\top \ \text{with}\ M^\top A = U S V^\top

    Args:
        features_by_modality: name to ``[n, d]``, the reference (the teacher) first; d >= 2 and n may differ.
        labels: ``[n]`` int64 >= 0, one tensor for all or one per modality.
        class_names: names by class index; the index itself where not given.

    Returns: ``x`` (``[k][2]``), ``label`` (class names, k), ``modality`` (k) and ``caption``, plain lists.
    Needs: at least two points of each of two classes per modality.
    Source: orthogonal Procrustes, Schoenemann, Psychometrika 31 (1966), applied to class means M and ring A.
    Raises: DataError for shapes, classes or counts that do not allow it; NonFiniteError.
    """
    if not features_by_modality:
        raise DataError("A map of features needs at least one modality.")
    import numpy as np

    clouds: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    for name, features in features_by_modality.items():
        own = labels[name] if isinstance(labels, Mapping) else labels
        clouds[name] = _checked(name, features.detach().double().cpu().numpy(), own.cpu().numpy())
    classes = sorted(set.intersection(*(set(y.tolist()) for _, y in clouds.values())))
    if len(classes) < 2:
        raise DataError("A map of features needs two classes that occur in every modality.")
    names = {c: str(class_names[c]) if class_names is not None else str(c) for c in classes}
    result: dict[str, Any] = {"x": [], "label": [], "modality": [], "caption": CAPTION}
    ring: np.ndarray | None = None
    for name, (x, y) in clouds.items():
        fit, show = _halves(y, classes)
        x = x - x[fit].mean(0)
        x = x / max(math.sqrt((x[fit] ** 2).sum(1).mean()), 1e-12)
        means = np.stack([x[fit][y[fit] == c].mean(0) for c in classes])
        ring = _ring(means) if ring is None else ring
        u, _, vt = np.linalg.svd(means.T @ ring, full_matrices=False)
        result["x"] += np.round(x[show] @ (u @ vt), 4).tolist()
        result["label"] += [names[c] for c in y[show].tolist()]
        result["modality"] += [name] * len(show)
    return result


def _checked(name: str, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    import numpy as np

    if x.ndim != 2 or x.shape[1] < 2 or y.shape != x.shape[:1]:
        raise DataError(
            f"Features of {name!r} must be [n, d] with d >= 2 and labels [n]; these are {list(x.shape)} and "
            f"{list(y.shape)}."
        )
    if not np.isfinite(x).all():
        raise NonFiniteError(f"Features of {name!r} hold NaN or Inf.")
    classes, counts = np.unique(y[y >= 0], return_counts=True)
    keep = np.isin(y, classes[counts >= 2])  # a class of one point cannot be both fitted and shown
    return x[keep], y[keep]


def _halves(y: np.ndarray, classes: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Rows to fit on and rows to show: every other row of each class, evenly thinned to what can be read."""
    import numpy as np

    rows = [np.flatnonzero(y == c) for c in classes]
    fit = np.concatenate([r[0::2] for r in rows])
    show = np.concatenate([r[1::2] for r in rows])
    return fit, show[:: math.ceil(len(show) / MAX_POINTS)]


def _ring(means: np.ndarray) -> np.ndarray:
    """Equal steps on the unit circle, in the order of the class means' angles in their principal plane."""
    import numpy as np

    u, s, _ = np.linalg.svd(means - means.mean(0), full_matrices=False)
    u = u * np.sign(u[np.abs(u).argmax(0), range(u.shape[1])])  # the sign of a singular vector is arbitrary
    plane = u[:, :2] * s[:2]
    order = np.argsort(np.argsort(np.arctan2(plane[:, 1], plane[:, 0]), kind="stable"))
    angle = 2 * np.pi * order / len(means)
    return np.stack([np.cos(angle), np.sin(angle)], axis=1)
