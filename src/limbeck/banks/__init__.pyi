from .answers import AnswerStore as AnswerStore
from .bank import Bank as Bank
from .controls import oracle_like as oracle_like
from .controls import random_like as random_like
from .controls import shuffled as shuffled
from .controls import uniform_like as uniform_like
from .files import bank_info as bank_info
from .files import delete_bank as delete_bank
