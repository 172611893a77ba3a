"""Write sections as one HTML file that runs no scripts and needs no network."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from importlib.resources import files
from xml.etree import ElementTree

from kmtard.report.drawings import INK, Drawing, rendered
from kmtard.report.section import Block, Section, code_parts
from kmtard.runs import tables
from kmtard.runs.tables import Table, html_text
from kmtard.runs.visible import visible

SVG = "http://www.w3.org/2000/svg"
XLINK = "http://www.w3.org/1999/xlink"
REFERENCE = re.compile(r"url\(#([^)]+)\)")
GAPS = "What is not in this report"
# If a text were not escaped, the browser would still run and load nothing.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def to_html(title: str, lead: str, sections: Sequence[Section]) -> str:
    """Return a page.

    Args:
        title: heading of the page.
        lead: paragraph below the heading.
        sections: the sections. Those without blocks are left out. The end of the page
            lists how to fill them.

    Raises:
        RunError: a figure cannot be drawn.

    Example:
        >>> page = to_html("Report", "Two runs.", [Section("a", "Accuracy", ["50 %"])])
        >>> '<h2 id="a">Accuracy</h2>' in page
        True
    """
    shown = [each for each in sections if each.blocks]
    gaps = gap_list(sections)
    links = [(each.name, each.title) for each in shown]
    links += [("missing", GAPS)] if gaps else []
    contents = "".join(
        f'<li><a href="#{name}">{html_text(text)}</a></li>' for name, text in links
    )
    style = files(__package__).joinpath("page.css").read_text(encoding="utf-8")
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{html_text(title)}</title>",
        f"<style>\n{style}</style></head><body>",
        f"<header><h1>{html_text(title)}</h1><p>{html_text(lead)}</p></header>",
        f"<nav><ul>{contents}</ul></nav><main>",
    ]
    parts += map(_section, shown)
    if gaps:
        items = "".join(f"<li>{_with_code(gap)}</li>" for gap in gaps)
        text = f'<section><h2 id="missing">{GAPS}</h2><ul>{items}</ul></section>'
        parts.append(text)
    return "\n".join([*parts, "</main></body></html>", ""])


def gap_list(sections: Iterable[Section]) -> list[str]:
    """Return what sections lack and how to get it, each text once.

    Text between backquotes is a command.

    Example:
        >>> gap_list([Section("a", "Cost", missing=["not measured."])])
        ['Cost: not measured.']
    """
    gaps = (f"{each.title}: {gap}" for each in sections for gap in each.missing)
    return list(dict.fromkeys(gaps))


def _section(section: Section) -> str:
    blocks = [
        _block(block, f"{section.name}-{number}")
        for number, block in enumerate(section.blocks)
    ]
    title = f'<h2 id="{section.name}">{html_text(section.title)}</h2>'
    return "\n".join(["<section>", title, *blocks, "</section>"])


def _block(block: Block, name: str) -> str:
    if isinstance(block, Table):
        return f'<div class="scroll">{tables.to_html(block)}</div>'
    if isinstance(block, Drawing):
        caption = f"<figcaption>{html_text(block.caption)}</figcaption>"
        return f"<figure>{inline(block, name)}{caption}</figure>"
    return f"<p>{_with_code(block)}</p>"


def _with_code(text: str) -> str:
    """Return a text as HTML, with the parts between backquotes as code."""
    return "".join(
        f"<code>{html_text(part)}</code>" if is_code else html_text(part)
        for part, is_code in code_parts(text)
    )


def inline(drawing: Drawing, name: str) -> str:
    """Return a drawing as an `<svg>` element for a page.

    Lines and text take the color of the page's text. The ids begin with `name`, because
    Matplotlib uses the same ids in every drawing.
    """
    ElementTree.register_namespace("", SVG)
    ElementTree.register_namespace("xlink", XLINK)
    root = ElementTree.fromstring(rendered(drawing, "svg", is_clear=True))
    for metadata in root.findall(f"{{{SVG}}}metadata"):
        root.remove(metadata)
    # A style rule for `*` in the drawing would apply to the whole page.
    for element in root.iter():
        for key, value in element.attrib.items():
            if key == "id":
                value = f"{name}-{value}"
            elif key == f"{{{XLINK}}}href" and value.startswith("#"):
                value = f"#{name}-{value[1:]}"
            else:
                value = REFERENCE.sub(rf"url(#{name}-\1)", value)
                value = value.replace(INK, "currentColor")
            element.set(key, value)
        if element.tag == f"{{{SVG}}}style" and element.text:
            element.text = element.text.replace("*{", f"#{name} *{{")
    root.set("id", name)
    root.set("role", "img")
    root.set("aria-label", visible(drawing.caption))
    for side in ("width", "height"):
        root.attrib.pop(side, None)
    root.set("style", f"max-width: {drawing.size[0] * 115:.0f}px")
    return ElementTree.tostring(root, encoding="unicode")
