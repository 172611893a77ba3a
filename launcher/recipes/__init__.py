"""Recipes as they are found, changed, checked and saved, whatever shows them."""
