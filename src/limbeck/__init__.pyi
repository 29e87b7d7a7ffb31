from .arms import compare as compare
from .banks.bank import Bank as Bank
from .chain import run_chain as run_chain
from .prior import diagnose as diagnose
from .runner import run as run
from .signals.output import TeacherOutput as TeacherOutput
from .students.student import Student as Student
from .training.distillation import Distillation as Distillation

__version__: str
