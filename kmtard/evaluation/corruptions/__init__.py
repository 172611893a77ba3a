"""Common corruptions: accuracy on images with noise, blur, weather or compression.

They are the fifteen corruptions of ImageNet-C at five severities (Hendrycks and
Dietterich 2019, "Benchmarking neural network robustness to common corruptions and
perturbations"). `transforms` corrupts images, with the constants in `severities`.
`choice` reads what a user asks for, and `files` the published images of CIFAR-10-C.

Nothing here loads Keras. `choice` does not load SciPy either, so that a command can
report mistakes quickly.
"""
