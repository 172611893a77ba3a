"""Write a report as a folder: HTML page, Markdown text, tables and figures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from kmtard.report import page
from kmtard.report.drawings import Drawing, rendered
from kmtard.report.section import Section, code_parts
from kmtard.runs.files import RunError, refuse_links, write_atomic
from kmtard.runs.tables import FORMATS, Table, markdown_text, to_markdown
from kmtard.runs.visible import visible

KINDS = ("svg", "png")


def write(folder: Path, title: str, lead: str, sections: Sequence[Section]) -> None:
    """Write a report.

    ```
    FOLDER/  report.html  report.md
             tables/SECTION-N.md .tex .csv    figures/SECTION-N.svg .png
    ```

    Args:
        folder: created if missing. Files with these names are replaced.
        title: heading of the report.
        lead: paragraph below the heading.
        sections: the sections.

    Raises:
        RunError: a file cannot be written or a figure cannot be drawn.
    """
    refuse_links(folder / "tables", folder / "figures")
    try:
        for path in (folder, folder / "tables", folder / "figures"):
            path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"Cannot create {path}: {error.strerror}.") from error
    for section in sections:
        for number, block in enumerate(section.blocks, 1):
            name = f"{section.name}-{number}"
            if isinstance(block, Table):
                for ending, form in FORMATS.items():
                    write_atomic(folder / "tables" / f"{name}{ending}", form(block))
            elif isinstance(block, Drawing):
                for kind in KINDS:
                    path = folder / "figures" / f"{name}.{kind}"
                    write_atomic(path, rendered(block, kind))
    write_atomic(folder / "report.md", to_text(title, lead, sections))
    write_atomic(folder / "report.html", page.to_html(title, lead, sections))


def to_text(title: str, lead: str, sections: Sequence[Section]) -> str:
    """Return a report in Markdown. Its figures are links to `figures/`.

    Example:
        >>> to_text("Report", "Two runs.", []).splitlines()
        ['# Report', '', 'Two runs.']
    """
    parts = [f"# {markdown_text(title)}", markdown_text(lead)]
    for section in sections:
        if section.blocks:
            parts.append(f"## {section.title}")
        for number, block in enumerate(section.blocks, 1):
            if isinstance(block, Table):
                parts.append(to_markdown(block).rstrip())
            elif isinstance(block, Drawing):
                caption = markdown_text(block.caption)
                link = f"figures/{section.name}-{number}.svg"
                parts.append(f"![{caption}]({link})\n\n{caption}")
            else:
                parts.append(_with_code(block))
    if gaps := page.gap_list(sections):
        items = [f"- {_with_code(gap)}" for gap in gaps]
        parts += [f"## {page.GAPS}", "\n".join(items)]
    return "\n\n".join(parts) + "\n"


def _with_code(text: str) -> str:
    return "".join(
        f"`{visible(part)}`" if is_code else markdown_text(part)
        for part, is_code in code_parts(text)
    )
