"""Recipes for the screens: found, shown as forms, changed, checked and saved.

Nothing here knows a screen. It may import `kmtard.recipe` and the light rooms.
"""
