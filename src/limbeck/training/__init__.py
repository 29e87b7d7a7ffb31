"""The one training loop: transformers' Trainer around a Distiller."""

from limbeck.training.arguments import DistillationArguments
from limbeck.training.distiller import Distiller
from limbeck.training.trainer import DistillationTrainer

__all__ = ["DistillationArguments", "DistillationTrainer", "Distiller"]
