"""The terminal user interface of kmtard."""
