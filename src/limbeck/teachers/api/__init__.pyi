from .limits import Limits as Limits
from .limits import Prices as Prices
from .teacher import APITeacher as APITeacher
