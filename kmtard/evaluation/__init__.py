"""How models are judged: batches of attacks that survive a kill, and what they tell.

`kmtard.evaluate` is the command and the function on top; `result`, `statistics`,
`tables` and `comparison` load no Keras.
"""
