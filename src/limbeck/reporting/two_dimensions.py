"""Two dimensions of what teacher and student see, side by side in one picture."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from limbeck.errors import DataError, NonFiniteError

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

MAX_POINTS = 300
SHARPNESS = 4.0  # scores are 1 at a class mean and about 0 at the others: a weight of e^4 to 1
CAPTION = (
    "Where samples lie in the feature space of the first modality, drawn as a ring of its classes: a point "
    "sits at a class when it resembles that class alone, between classes when it resembles both, near the "
    "middle when it resembles none. Other modalities are centred, divided by their own spread and turned "
    "into that space, never stretched (orthogonal Procrustes on class means). All of it is fitted on half "
    "of the samples; the other half is shown."
)


def feature_map(
    features_by_modality: Mapping[str, Tensor],
    labels: Tensor | Mapping[str, Tensor],
    *,
    class_names: Sequence[str] | None = None,
) -> dict[str, Any]:
    r"""A two-dimensional map of features of several modalities, of any widths, in the space of the first.

    .. math::
        p(z) = \mathrm{softmax}_c (\beta \, z R \cdot \mu_c / \|\mu_c\|^2), \quad
        x(z) = \sum_c p_c(z) a_c, \quad
        R = \arg\min_R \|M_z R - M\|^2 \ \text{orthogonal on the span of the class means}

    with z centred and divided by its root mean square norm, M and mu the class means of the first modality,
    M_z those of the modality of z, a the corners of a ring in an order that follows M. Deterministic.

    Args:
        features_by_modality: name to ``[n, d]``, the reference (the teacher) first; d >= 2 and n may differ.
        labels: ``[n]`` int64 >= 0, one tensor for all or one per modality.
        class_names: names by class index; the index itself where not given.

    Returns: ``x`` (``[k][2]``, inside the unit circle), ``label`` (class names, k), ``modality`` (k),
        ``corners`` (class name to ``[2]``) and ``caption``, plain lists. At most 300 points a modality.
    Needs: at least two points of each of two classes per modality; classes of fewer are left out.
    Source: orthogonal Procrustes, Schoenemann, Psychometrika 31 (1966); RadViz ring, Hoffman et al. 1997.
    Raises: DataError for shapes, classes or counts that do not allow it; NonFiniteError.
    """
    import numpy as np

    if not features_by_modality:
        raise DataError("A map of features needs at least one modality.")
    clouds: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    for name, features in features_by_modality.items():
        own = labels[name] if isinstance(labels, Mapping) else labels
        clouds[name] = _checked(name, features.detach().double().cpu().numpy(), own.cpu().numpy())
    classes = sorted(set.intersection(*(set(y.tolist()) for _, y in clouds.values())))
    if len(classes) < 2:
        raise DataError("A map of features needs two classes that occur in every modality.")
    names = {c: str(class_names[c]) if class_names is not None else str(c) for c in classes}
    result: dict[str, Any] = {"x": [], "label": [], "modality": []}
    reference = ring = None
    for name, (x, y) in clouds.items():
        fit, show = _halves(y, classes)
        x = x - x[fit].mean(0)
        x = x / max(math.sqrt((x[fit] ** 2).sum(1).mean()), 1e-12)
        means = np.stack([x[fit][y[fit] == c].mean(0) for c in classes])
        if reference is None or ring is None:
            reference, ring = means - means.mean(0), _ring(means)
        result["x"] += np.round(_place(x[show], means, reference) @ ring, 4).tolist()
        result["label"] += [names[c] for c in y[show].tolist()]
        result["modality"] += [name] * len(show)
    assert ring is not None
    corners = {names[c]: np.round(corner, 4).tolist() for c, corner in zip(classes, ring)}
    return result | {"corners": corners, "caption": CAPTION}


def _place(x: np.ndarray, means: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Weights of the classes, rows that sum to 1, of points turned into the reference space."""
    import numpy as np

    u, _, vt = np.linalg.svd((means - means.mean(0)).T @ reference, full_matrices=False)
    rank = min(len(means) - 1, len(vt))  # centred means of C classes span C - 1 dimensions
    norms = np.maximum((reference**2).sum(1), 1e-12)
    scores = SHARPNESS * (x @ u[:, :rank] @ vt[:rank]) @ reference.T / norms
    weights = np.exp(scores - scores.max(1, keepdims=True))
    return weights / weights.sum(1, keepdims=True)


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
