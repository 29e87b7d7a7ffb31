from .cost_and_plan import transport_cost as transport_cost
from .cost_and_plan import transport_plan as transport_plan
