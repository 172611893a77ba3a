"""The terminal user interface of kmtard.

It draws what `kmtard.runs` reads and starts commands as processes of their own. It may
import `kmtard.runs`, `kmtard.recipe`, `kmtard.registry` and the paper's studies in
`kmtard.study.named`, and never loads Keras.
"""
