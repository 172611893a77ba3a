"""The report: tables and figures of runs, with the paper's numbers beside them.

- `source`: reads runs and studies, and groups runs that differ only in their seed.
- `paper/`: the tables of the B-MTARD paper as data, and the number for a cell.
- `sections/`: one module per subject. Each turns a source into sections.
- `section`: what a section is: paragraphs, tables and drawings. Sections are data.
- `drawings`: what can be drawn, by Matplotlib.
- `page`, `folder`: sections as one HTML file, and as a folder of files.

This package reads what `kmtard.runs` reads and loads no Keras. It may import
`kmtard.evaluation.statistics`, `kmtard.recipe`, `kmtard.runs` and `kmtard.registry`. A
command that needs a page of its own gives `page.to_html` its own sections.
"""
