from .classes import UNLABELLED as UNLABELLED
from .classes import join_class_names as join_class_names
from .key import Key as Key
from .output import TeacherOutput as TeacherOutput
from .pairing import Pairing as Pairing
from .teacher import Teacher as Teacher
