"""Recipes: the one schema, and the YAML files that ship."""

from limbeck.recipes.recipe import DataSpec, MethodSpec, Recipe, StudentSpec, TeacherSpec, parse_recipe

__all__ = ["DataSpec", "MethodSpec", "Recipe", "StudentSpec", "TeacherSpec", "parse_recipe"]
