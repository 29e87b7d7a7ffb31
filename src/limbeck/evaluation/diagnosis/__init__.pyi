from .expectation import Expectation as Expectation
from .expectation import Gain as Gain
from .expectation import Room as Room
from .outcome import Diagnosis as Diagnosis
from .reasons import Reason as Reason
