"""The terminal user interface of kmtard.

It draws what `kmtard.runs` reads and starts commands as processes of their own. It may
import `kmtard.runs`, `kmtard.recipe` and `kmtard.registry`, and never loads Keras.
"""
