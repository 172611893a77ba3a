"""The report: tables and figures of runs, next to the paper's numbers.

- `source`: reads runs and studies, and groups runs that differ only in their seed.
- `paper/`: the tables of the B-MTARD paper as data, and the number for a cell.
- `sections/`: one module per subject. Each turns a source into sections.
- `section`: the class of a section: paragraphs, tables and drawings as data.
- `drawings`: the figures, drawn by Matplotlib.
- `page`, `folder`: write sections as one HTML file, and as a folder of files.

This package reads runs through `kmtard.runs` and loads no Keras. It may import
`kmtard.evaluation.statistics`, `kmtard.recipe`, `kmtard.runs` and `kmtard.registry`. A
command that needs its own page passes its own sections to `page.to_html`.
"""
