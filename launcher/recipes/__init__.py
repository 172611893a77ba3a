"""Recipes: found, turned into forms, changed, checked and saved.

Nothing here knows a screen. It may import `kmtard.recipe` and the light packages.
"""
