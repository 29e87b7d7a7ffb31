from .recipe import DataSpec as DataSpec
from .recipe import MethodSpec as MethodSpec
from .recipe import Recipe as Recipe
from .recipe import StudentSpec as StudentSpec
from .recipe import TeacherSpec as TeacherSpec
from .recipe import parse_recipe as parse_recipe
