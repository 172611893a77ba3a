"""How models are judged: batches of attacks that survive a kill, and what they tell.

`kmtard.evaluate` is the command and the function on top; `result`, `statistics` and
`comparison` load no Keras. Results are read, and put into tables, by `kmtard.runs`.
"""
