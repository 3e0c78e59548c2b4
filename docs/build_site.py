"""Prepare the pages of the site in build/pages and build it: ``make docs``.

The pages keep their places below the project, so that links between them need no change. Two pages
are generated: settings (from the schema and the comments beside its fields), and the names for
notebooks.
"""

import inspect
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Literal, get_args, get_origin

ROOT = Path(__file__).resolve().parents[1]
PAGES = ROOT / "build" / "pages"
FIELD = re.compile(r"^    (\w+): [^#]*?(?:  # (.+))?$", re.M)


def meanings(model: type) -> dict[str, str]:
    """What the comment beside each field of a class of settings says; inherited where it is not
    repeated."""
    found = {}
    for cls in reversed(model.__mro__[:-2]):
        if cls.__module__ == model.__module__:
            found |= {k: text for k, text in FIELD.findall(inspect.getsource(cls)) if text}
    return found


def kind(annotation) -> str:
    """A type in words for readers: ``whole number or null``."""
    words = {str: "text", int: "whole number", float: "number", bool: "true or false"}
    if annotation in words or annotation is type(None):
        return words.get(annotation, "null")
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return ", ".join(f"`{part}`" for part in parts)
    if origin is list:
        return f"list of {kind(parts[0])}" + ("s" if parts[0] in (int, float) else "")
    if origin is dict:
        return f"{kind(parts[1])} by {kind(parts[0])}"
    return " or ".join(kind(part) for part in parts) if parts else "settings of one task"


def limits(field) -> str:
    signs = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
    return ", ".join(
        f"{words} {getattr(rule, name):g}"
        for rule in field.metadata
        for name, words in signs.items()
        if getattr(rule, name, None) is not None
    )


def settings() -> str:
    """Every key of a params file with type, default and meaning."""
    from midway.study import params

    lines = ["# Settings", "", "Every key of a params file (`params/*.yaml`). `--set key=value` "
             "changes one for a run.", ""]  # fmt: skip
    groups = {"": params.Study} | {
        name: field.annotation
        for name, field in params.Study.model_fields.items()
        if inspect.isclass(field.annotation) and issubclass(field.annotation, params.Strict)
    }
    groups |= {"<phase>.tasks.<task>": params.Override}
    inherited = meanings(params.Training)
    for group, model in groups.items():
        title = f"`{group}`" if group else "The study"
        lines += [f"## {title}", "", model.__doc__.replace(":class:`Training`", "a phase"), ""]
        lines += ["| key | type | default | meaning |", "|---|---|---|---|"]
        told = inherited | meanings(model)
        for name, field in model.model_fields.items():
            if not group and name in groups:
                continue
            key = f"{group}.{name}" if group and "<" not in group else name
            default = "needed" if field.is_required() else f"`{json.dumps(field.default)}`"
            about = "; ".join(x for x in (kind(field.annotation), limits(field)) if x)
            meaning = told[name].replace("None", "null")
            lines.append(f"| `{key}` | {about} | {default} | {meaning} |")
        lines.append("")
    return "\n".join(lines)


def api() -> str:
    """The names that ``from midway import ...`` gives, with their docstrings."""
    import midway

    lines = ["# Names for notebooks", "", midway.__doc__.split("\n\n", 1)[1].strip(), ""]
    for name, place in midway.FACE.items():
        found = getattr(midway, name)
        lines += [f"## `{name}`", "", f"`{place.replace(':', '.')}`", "", _doc(found)]
        if not inspect.ismodule(found):
            continue
        for part, value in vars(found).items():
            ours = getattr(value, "__module__", "") == found.__name__
            if ours and not part.startswith("_") and callable(value) and value.__doc__:
                try:
                    signature = str(inspect.signature(value))
                except ValueError:
                    signature = "(...)"
                lines += [f"### `{name}.{part}`", "", "```python",
                          f"{name}.{part}{signature}", "```", "", _doc(value)]  # fmt: skip
    return "\n".join(lines)


def _doc(found) -> str:
    """A docstring as literal text: it is written for terminals."""
    return f"```text\n{inspect.getdoc(found) or ''}\n```\n"


def notebook(source: Path, target: Path) -> None:
    """Copy a notebook; links of its prose lead to pages of the site, not to sources."""
    tree = json.loads(source.read_text(encoding="utf-8"))
    link = re.compile(r"(\]\([^):#]*)\.(?:md|ipynb)(?=[)#])")
    for cell in tree["cells"]:
        if cell["cell_type"] == "markdown":
            text = link.sub(r"\1.html", "".join(cell["source"]))
            cell["source"] = text.replace("README.html", "index.html")
    target.write_text(json.dumps(tree), encoding="utf-8")


def pages() -> None:
    """Copy and generate all pages."""
    shutil.rmtree(PAGES, ignore_errors=True)
    for folder in ("docs", "notebooks", "params", "profiles"):
        hidden = shutil.ignore_patterns("*.py", ".*", "__pycache__")
        shutil.copytree(ROOT / folder, PAGES / folder, ignore=hidden)
    for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "LICENSE", "CITATION.cff"):
        shutil.copy(ROOT / name, PAGES / name)
    for source in [*ROOT.glob("notebooks/*.ipynb"), *ROOT.glob("docs/sample/*.ipynb")]:
        notebook(source, PAGES / source.relative_to(ROOT))
    (PAGES / "docs" / "settings.md").write_text(settings(), encoding="utf-8")
    (PAGES / "docs" / "api.md").write_text(api(), encoding="utf-8")


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT / "lib"))
    pages()
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-q"]
    quiet = os.environ | {"NO_MKDOCS_2_WARNING": "1"}  # an advertisement of the theme
    code = subprocess.run(command, cwd=ROOT, env=quiet).returncode
    print("site/index.html" if code == 0 else "the site was not built")
    sys.exit(code)
