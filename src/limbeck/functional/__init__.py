"""Pure tensor functions: divergences, relations, distribution alignment. No state, no modules.

Every loss of the library is first a function here; a method only chooses and weighs them.
"""

from limbeck.functional.costs import cost_matrix as cost_matrix
from limbeck.functional.divergence import sinkhorn_divergence as sinkhorn_divergence
from limbeck.functional.divergence import sinkhorn_teacher_term as sinkhorn_teacher_term
from limbeck.functional.divergences import bag_proportion_kl as bag_proportion_kl
from limbeck.functional.divergences import distillation_kl as distillation_kl
from limbeck.functional.divergences import label_alignment as label_alignment
from limbeck.functional.divergences import soft_cross_entropy as soft_cross_entropy
from limbeck.functional.entropic import TransportInfo as TransportInfo
from limbeck.functional.exact import exact_transport_cost as exact_transport_cost
from limbeck.functional.exact import gromov_wasserstein as gromov_wasserstein
from limbeck.functional.hints import hint_mse as hint_mse
from limbeck.functional.kernels import median_bandwidth as median_bandwidth
from limbeck.functional.kernels import mmd as mmd
from limbeck.functional.kernels import mmd_teacher_term as mmd_teacher_term
from limbeck.functional.manifold import mean_cosine_gap as mean_cosine_gap
from limbeck.functional.manifold import mean_distance as mean_distance
from limbeck.functional.manifold import pair_cosine_gap as pair_cosine_gap
from limbeck.functional.manifold import pair_distance as pair_distance
from limbeck.functional.moments import bures_wasserstein as bures_wasserstein
from limbeck.functional.moments import central_moment_discrepancy as central_moment_discrepancy
from limbeck.functional.moments import coral as coral
from limbeck.functional.moments import mean_cov_bures as mean_cov_bures
from limbeck.functional.moments import moment_matching as moment_matching
from limbeck.functional.prototypes import prototype_transport as prototype_transport
from limbeck.functional.similarity import cka as cka
from limbeck.functional.similarity import distance_correlation as distance_correlation
from limbeck.functional.similarity import mutual_knn as mutual_knn
from limbeck.functional.similarity import procrustes as procrustes
from limbeck.functional.sinkd import sinkd as sinkd
from limbeck.functional.sliced import max_sliced_wasserstein as max_sliced_wasserstein
from limbeck.functional.sliced import projection_directions as projection_directions
from limbeck.functional.sliced import sliced_wasserstein as sliced_wasserstein
from limbeck.functional.sliced import sorted_projections as sorted_projections
from limbeck.functional.sliced import wasserstein_1d as wasserstein_1d
from limbeck.functional.transport import transport_cost as transport_cost
from limbeck.functional.transport import transport_plan as transport_plan
from limbeck.functional.unbalanced import unbalanced_transport_cost as unbalanced_transport_cost
from limbeck.functional.vocabulary import fused_linear_divergence as fused_linear_divergence
