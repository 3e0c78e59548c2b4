"""Midway: does a better score on an English intermediate task predict better zero-shot transfer?

The names below are all that a notebook needs; each is loaded when it is first asked for:
``from midway import begin, figures, params, root, Variant``.
"""

from importlib import import_module

__version__ = "0.2.0"

#: name -> where it stands; "module:attribute" for what is no module
FACE = {
    # what is asked
    "root": "midway.study.files:root",
    "params": "midway.study.params",
    "tasks": "midway.study.tasks",
    "names": "midway.study.names",
    "InputError": "midway.study.errors:InputError",
    "ensure": "midway.study.errors:ensure",
    # rows, tokens, models
    "sources": "midway.data.sources",
    "kinds": "midway.kinds",
    "texts": "midway.kinds.tokens:texts",
    "Inputs": "midway.encoder.device:Inputs",
    "predict": "midway.encoder.predict",
    "heads": "midway.encoder.heads",
    "progress": "midway.encoder.progress",
    "metrics": "midway.evaluation.metrics",
    "retrieval": "midway.evaluation.retrieval",
    # notebooks 01 and 02
    "Variant": "midway.intermediate.variant:Run",
    "Transfer": "midway.transfer.targets:Run",
    "check": "midway.evaluation.summary:check",
    # notebooks 03 and 04
    "tables": "midway.correlation.tables",
    "arrays": "midway.correlation.arrays",
    "export": "midway.correlation.export",
    "analysis": "midway.correlation.analysis",
    "correlate": "midway.correlation.correlate",
    "published": "midway.correlation.published",
    "taskweb": "midway.correlation.taskweb",
    "words": "midway.correlation.words",
    # figures and the report
    "figures": "midway.report.figures",
    "lesson": "midway.report.lesson",
    "explore": "midway.report.explore",
    "robustness": "midway.report.robustness",
    "page": "midway.report.page",
    # records
    "begin": "midway.run.recording:begin",
    "load_record": "midway.run.record:load",
    "outputs": "midway.run.outputs",
}
__all__ = list(FACE)


def __getattr__(name: str):
    if name not in FACE:
        raise AttributeError(f"module 'midway' has no attribute {name!r}")
    module, _, attribute = FACE[name].partition(":")
    found = import_module(module)
    return getattr(found, attribute) if attribute else found


def __dir__() -> list[str]:
    return sorted([*FACE, "FACE", "__version__"])
