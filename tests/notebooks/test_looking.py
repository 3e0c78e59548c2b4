"""Looking does no damage: an executed notebook opened in Jupyter and saved by it still audits."""

import os

import pytest

from midway.run import audit

NOTEBOOK = "01_intermediate/mnli/seed1/notebook.ipynb"


@pytest.fixture
def contents(project):
    """The contents API that JupyterLab opens and saves files with."""
    manager = pytest.importorskip("jupyter_server.services.contents.largefilemanager")
    return manager.LargeFileManager(root_dir=str(project.out))


def test_open_autosave_close(project, contents):
    """What JupyterLab does within two minutes of opening a notebook: trust it, and save it."""
    assert audit.audit(project.out)["problems"] == []
    model = contents.get(NOTEBOOK, content=True, type="notebook")
    nb = model["content"]
    nb["metadata"]["language_info"] = {"name": "python", "version": "3.11.0"}
    nb["metadata"]["kernelspec"] = {"name": "python3", "display_name": "Python 3 (ipykernel)"}
    for cell in nb["cells"]:
        cell["metadata"]["trusted"] = True
    if os.access(project.out / NOTEBOOK, os.W_OK):  # read-only for everybody but root
        contents.save({"type": "notebook", "format": "json", "content": nb}, NOTEBOOK)
    contents.create_checkpoint(NOTEBOOK)
    contents.get(NOTEBOOK, content=True, type="notebook")
    assert audit.audit(project.out)["problems"] == []


def test_an_edited_output_is_still_seen(project, contents):
    """The same way of saving must not hide a number that was changed by hand."""
    nb = contents.get(NOTEBOOK, content=True, type="notebook")["content"]
    cell = next(c for c in nb["cells"] if c["cell_type"] == "code")
    cell["outputs"] = [{"output_type": "stream", "name": "stdout", "text": "99.9\n"}]
    path = project.out / NOTEBOOK
    path.chmod(0o644)
    contents.save({"type": "notebook", "format": "json", "content": nb}, NOTEBOOK)
    assert any("notebook.ipynb" in p for p in audit.audit(project.out)["problems"])
