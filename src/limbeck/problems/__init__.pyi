from .base import Problem as Problem
from .base import Targets as Targets
from .choice import Choice as Choice
from .classification import Classification as Classification
from .metric import Metric as Metric
from .multilabel import MultiLabel as MultiLabel
from .registry import PROBLEMS as PROBLEMS
from .regression import Regression as Regression
