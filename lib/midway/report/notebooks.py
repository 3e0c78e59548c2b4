"""Executed notebooks as HTML pages without scripts and without requests (nbconvert).

Outputs are data: HTML is reduced to tables and text (bleach), everything else is escaped.
"""

import functools
import re
from pathlib import Path

from midway.study.files import digest, root, sha256, write_atomic

HERE = Path(__file__).resolve().parent
TAGS = (
    "a abbr b blockquote br caption code dd del div dl dt em h1 h2 h3 h4 h5 h6 hr i img li ol p pre"
    " s small span strong sub sup table tbody td tfoot th thead tr ul"
).split()
DOCUMENTS = ("metrics", "glossary")


def write(folder: Path, into: Path, step: dict) -> Path:
    """Write the page of one step.

    folder: the study's; into: the report's; step: as :func:`midway.report.collect.steps` gives it.
    A notebook that cannot be read becomes a page that says so.
    """
    notebook = folder / step["path"] / "notebook.ipynb"
    path = into / "pages" / f"{step['path']}.html"
    return _kept(path, notebook, step, read)


def documents() -> list[str]:
    """Names of the documents that become pages: definitions and glossary, where they are."""
    return [n for n in DOCUMENTS if (root() / "docs" / f"{n}.md").exists()]


def write_document(into: Path, name: str) -> Path:
    """Write a document of the documentation as a page; every term has an anchor."""
    source = root() / "docs" / f"{name}.md"
    step = dict.fromkeys(("notebook", "record")) | {"path": name, "state": "document"}
    return _kept(into / "pages" / f"{name}.html", source, step, _document)


def _kept(path: Path, source: Path, step: dict, reader) -> Path:
    """Write a page unless it is there and made from this source in this state."""
    stamp = digest([sha256(source), _version(), {k: step[k] for k in ("state", "record")}])
    try:
        with open(path, encoding="utf-8") as f:
            if stamp in f.read(400):
                return path
    except OSError:
        pass
    return write_atomic(path, render(reader(source), step, stamp))


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
    import nbformat

    return nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(markdown)])


def read(notebook: Path):
    """A notebook; one that cannot be read becomes one that says so."""
    import nbformat

    try:
        return nbformat.read(notebook, as_version=4)
    except Exception as error:  # torn by a power cut, or not a notebook: the report goes on
        return _page_of(f"This notebook cannot be read: `{error!r}`")


@functools.cache
def _version() -> str:
    """Hash of what decides how a page looks."""
    parts = ("page.html.j2", "style.css", "notebooks.py")
    return digest([(HERE / name).read_text("utf-8") for name in parts])


def render(nb, step: dict, stamp: str = "") -> str:
    """A notebook's page."""
    section = step["path"]
    for cell in nb.cells:
        if cell.cell_type == "markdown" and (heading := re.search(r"(?m)^#+ +(.+)$", cell.source)):
            section = heading[1]
        cell.metadata["section"] = section
    facts = {
        "stamp": stamp, "path": step["path"], "state": step["state"],
        "css": (HERE / "style.css").read_text(encoding="utf-8"),
        "up": "../" * (step["path"].count("/") + 1),
        "notebook": step["notebook"], "record": step["record"],
    }  # fmt: skip
    html, _ = _exporter().from_notebook_node(nb, resources={"midway": facts})
    return html


@functools.cache
def _exporter():
    from nbconvert import HTMLExporter

    made = HTMLExporter(
        template_name="base", template_file=str(HERE / "page.html.j2"), exclude_anchor_links=True
    )
    made.register_filter("clean", clean)
    return made


def clean(html: str) -> str:
    """HTML reduced to tables and text; every table in a box of its own, directions by content."""
    import bleach

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
