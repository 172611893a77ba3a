"""Widgets that several screens show. They import no screen."""
