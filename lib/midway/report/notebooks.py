"""Executed notebooks as HTML pages without scripts and without requests (nbconvert).

Outputs are data: HTML is reduced to tables and text (bleach), everything else is escaped.
"""

import contextlib
import functools
import re
from pathlib import Path

import bleach
import nbformat
from nbconvert import HTMLExporter

from midway.study.files import digest, root, sha256, write_atomic

HERE = Path(__file__).resolve().parent
TAGS = (
    "a abbr b blockquote br caption code dd del div dl dt em h1 h2 h3 h4 h5 h6 hr i img li ol p pre"
    " s small span strong sub sup table tbody td tfoot th thead tr ul"
).split()
DOCUMENTS = ("metrics", "glossary")


def documents() -> dict[str, Path]:
    """Documents that become pages, where they are: definitions and glossary."""
    found = {name: root() / "docs" / f"{name}.md" for name in DOCUMENTS}
    return {name: path for name, path in found.items() if path.exists()}


def write(into: Path, step: dict, source: Path) -> Path:
    """Write the page of an executed notebook, or of a document, unless it has not changed.

    into: the report's folder; step: as :func:`midway.report.collect.steps` gives it (of a document
    only path and state). A notebook that cannot be read becomes a page that says so.
    """
    path = into / "pages" / f"{step['path']}.html"
    about = {k: step.get(k) for k in ("path", "state", "notebook", "record")}
    stamp = digest([sha256(source), _version(), about])
    with contextlib.suppress(OSError), open(path, encoding="utf-8") as f:
        if stamp in f.read(400):
            return path
    nb = _document(source) if source.suffix == ".md" else read(source)
    return write_atomic(path, render(nb, about | {"stamp": stamp}))


def _document(source: Path):
    text = source.read_text(encoding="utf-8")
    text = re.sub(r"\[([^]]*)\]\((?!https?:|#)[^)]*\)", r"\1", text)  # other files are not here
    return _page_of(re.sub(r"(?m)^\|[^|]*\|", _anchors, text))


def _anchors(cell: re.Match) -> str:
    """The first cell of a row with an id for each term in it (`term` or **term**)."""
    return re.sub(
        r"(`|\*\*)([\w -]+)\1",
        lambda m: f'<span id="{m[2].replace(" ", "-").lower()}">{m[0]}</span>', cell[0],
    )  # fmt: skip


def _page_of(markdown: str):
    return nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(markdown)])


def read(notebook: Path):
    """A notebook; one that cannot be read becomes one that says so."""
    try:
        return nbformat.read(notebook, as_version=4)
    except Exception as error:  # torn by a power cut, or not a notebook: the report goes on
        return _page_of(f"This notebook cannot be read: `{error!r}`")


@functools.cache
def _version() -> str:
    """Hash of what decides how a page looks."""
    parts = ("page.html.j2", "style.css", "notebooks.py")
    return digest([(HERE / name).read_text("utf-8") for name in parts])


def render(nb, about: dict) -> str:
    """A notebook's page."""
    section = about["path"]
    for cell in nb.cells:
        if cell.cell_type == "markdown" and (heading := re.search(r"(?m)^#+ +(.+)$", cell.source)):
            section = heading[1]
        cell.metadata["section"] = section
    facts = about | {"css": (HERE / "style.css").read_text(encoding="utf-8")}
    facts["up"] = "../" * (about["path"].count("/") + 1)
    html, _ = _exporter().from_notebook_node(nb, resources={"midway": facts})
    return html


@functools.cache
def _exporter():
    return HTMLExporter(
        template_name="base", template_file=str(HERE / "page.html.j2"), exclude_anchor_links=True,
        filters={"clean": clean},
    )  # fmt: skip


def clean(html: str) -> str:
    """HTML reduced to tables and text; every table in a box of its own, directions by content."""
    html = re.sub(r"(?s)<style[^>]*>.*?</style>", "", str(html))
    html = bleach.clean(html, tags=TAGS, attributes=_allowed, protocols=["http", "https", "data"])
    html = re.sub(r"<(td|th|p|li)(?=[ >])", r'<\1 dir="auto"', html)
    html = re.sub(r"<img(?![^>]* src=)[^>]*>", "", html)  # lost its source: not of this page
    html = re.sub(r"<img(?![^>]* alt=)", '<img alt="picture"', html)
    box = '<div class="box" tabindex="0" role="region" aria-label="table"><table'
    return re.sub(r"<table(?=[ >])", box, html).replace("</table>", "</table></div>")


def _allowed(tag: str, name: str, value: str) -> bool:
    if (tag, name) == ("a", "href"):
        return value.startswith(("https://", "http://", "#"))
    if (tag, name) == ("img", "src"):
        return value.startswith("data:image/")
    return name in {"colspan", "rowspan", "alt", "title", "class", "id"}
