"""Trainable pieces shared by methods, and the gathering of rows over ranks."""

from limbeck.layers.gather import gather_with_grad
from limbeck.layers.projectors import linear_projector, mlp_projector
from limbeck.layers.ts_aligner import TSAligner

__all__ = ["TSAligner", "gather_with_grad", "linear_projector", "mlp_projector"]
