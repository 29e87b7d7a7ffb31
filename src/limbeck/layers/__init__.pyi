from .gather import gather_with_grad as gather_with_grad
from .projectors import linear_projector as linear_projector
from .projectors import mlp_projector as mlp_projector
from .ts_aligner import TSAligner as TSAligner
from .ts_aligner import TwoHeadAligner as TwoHeadAligner
