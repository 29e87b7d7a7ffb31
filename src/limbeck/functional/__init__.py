"""Pure tensor functions: divergences, relations, distribution alignment. No state, no modules.

Every loss of the library is first a function here; a method only chooses and weighs them.
"""

from limbeck.functional.costs import cost_matrix as cost_matrix
from limbeck.functional.transport import TransportInfo as TransportInfo
from limbeck.functional.transport import transport_cost as transport_cost
from limbeck.functional.transport import transport_plan as transport_plan
