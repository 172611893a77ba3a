"""Diagnostics: signs that the numbers of an evaluation cannot be trusted.

`diagnose` chooses which diagnostics an evaluation runs; `model` inspects a model before
it is attacked, `attacks` runs short attacks and looks at what attacks return, `results`
compares accuracies, and `finding` holds what they all return. None changes a result.

May import the attacks and what lies below them. `finding` and `results` import no
Keras, so that readers of saved evaluations stay light.

The diagnostics are those of AutoAttack (Croce and Hein 2020), of Carlini et al. (2019,
"On evaluating adversarial robustness") and of Pintor et al. (2022, "Indicators of
attack failure").
"""
