from .gather import gather_with_grad as gather_with_grad
from .projectors import linear_projector as linear_projector
from .projectors import mlp_projector as mlp_projector
from .queue import Queue as Queue
from .queue import row_numbers as row_numbers
from .review import MapNorm as MapNorm
from .review import Review as Review
from .ts_aligner import TSAligner as TSAligner
