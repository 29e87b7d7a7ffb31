"""Products with a vector, which is a tensor or, where that is quicker, a NumPy array that shares a tensor's memory.

Of vectors of some hundred numbers the call is what takes the time, and NumPy's takes a third of torch's.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from limbeck.functional.transport.solver.soft_marginals import Softness, is_soft

# A tensor or an array. No type says what the two share: operators, and no names of methods.
Vector = Any
_SHORT = 4096  # numbers of a vector; torch's own threads and vector units are ahead of NumPy from some 30,000


def is_light(a: Tensor, b: Tensor, softness: Softness = (1.0, 1.0)) -> bool:
    """Whether a problem with these marginals is worked at with arrays."""
    short = a.device.type == "cpu" and max(a.numel(), b.numel()) <= _SHORT
    return short and not is_soft(softness)


def times(kernel: Tensor, v: Vector) -> Vector:
    """``kernel @ v`` for one matrix and vector or a batch of them."""
    if isinstance(v, np.ndarray):
        return times(kernel, torch.from_numpy(v)).numpy()
    return kernel.mv(v) if kernel.dim() == 2 else torch.bmm(kernel, v.unsqueeze(-1)).squeeze(-1)


def total(x: Vector, y: Vector) -> Vector:
    """The sum of all products; for the short vectors here ``dot`` costs a fraction of ``(x * y).sum()``."""
    if isinstance(x, np.ndarray):
        return np.vdot(x, y)
    return torch.dot(x, y) if x.dim() == 1 else (x * y).sum()
