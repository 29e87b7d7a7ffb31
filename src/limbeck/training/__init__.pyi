from .arguments import DistillationArguments as DistillationArguments
from .distiller import Distiller as Distiller
from .trainer import DistillationTrainer as DistillationTrainer
