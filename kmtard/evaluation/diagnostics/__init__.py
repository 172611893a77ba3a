"""Diagnostics: signs that the numbers of an evaluation cannot be trusted.

`diagnose` chooses the diagnostics of an evaluation. `model` checks a model before it is
attacked. `attacks` runs short attacks and checks what attacks return. `results`
compares accuracies. All return findings (`finding`); none changes a result.

Diagnostics may import the attacks and what the attacks import. `finding` and `results`
do not import Keras, so that programs that only read evaluations start quickly.

The diagnostics are those of AutoAttack (Croce and Hein 2020), Carlini et al. (2019, "On
evaluating adversarial robustness") and Pintor et al. (2022, "Indicators of attack
failure").
"""
