from .banks.bank import Bank as Bank
from .chain import run_chain as run_chain
from .evaluation.comparison import compare as compare
from .runner import run as run
from .signals.output import TeacherOutput as TeacherOutput
from .students.student import Student as Student

__version__: str
