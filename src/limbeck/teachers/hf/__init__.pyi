from .teacher import HFTeacher as HFTeacher
