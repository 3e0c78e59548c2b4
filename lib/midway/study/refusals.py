"""What params files are refused for, in one line: the key, the problem, the nearest valid name."""

import re
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from midway.study import tasks
from midway.study.errors import InputError, meant, one_line
from midway.study.variants import LONGER, near


def explain(error: ValidationError, schema: type[BaseModel]) -> str:
    """The first problem of a pydantic error as one line; an unknown key before its consequences."""
    problems = sorted(error.errors(), key=lambda e: e["type"] != "extra_forbidden")
    first = problems[0]
    where = ".".join(str(p) for p in first["loc"])
    found = repr(first.get("input"))
    found = found if len(found) <= 60 else found[:57] + "..."
    if first["type"] == "extra_forbidden":
        *parents, key = first["loc"]
        message = f"unknown key {where!r}; {meant(key, _fields_at(schema, parents), 'known here')}"
    elif first["type"] == "missing":
        message = f"key {where!r} is missing"
    elif first["type"] == "value_error":
        message = f"{where}: {first['ctx']['error']}" if where else str(first["ctx"]["error"])
    elif first["type"] == "bool_type":
        message = f"{where}: found {found}; write true or false"
    else:
        message = f"{where}: found {found}; {first['msg'][0].lower()}{first['msg'][1:]}"
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return one_line(message) + more


def _fields_at(schema, loc) -> Any:
    model: Any = schema
    for part in loc:
        if isinstance(model, type) and issubclass(model, BaseModel) and part in model.model_fields:
            field = model.model_fields[part].annotation
            model = get_args(field)[1] if get_args(field) and part == "tasks" else field  # dict
    return model.model_fields if hasattr(model, "model_fields") else []


def change(tree: dict, dotted: str, value: object) -> None:
    *parents, last = dotted.split(".")
    for key in parents:
        tree = tree.setdefault(key, {})
        if not isinstance(tree, dict):
            raise InputError(f"--set {dotted}: {key!r} is not a group of settings")
    tree[last] = value


def agree(study) -> None:
    """ValueError, one line that names the keys, if settings contradict each other."""
    name, seeds = study.study, study.seeds
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", name) or ".." in name:
        raise ValueError("study: use letters, digits, '_', '-' and '.' (at most 64, no path)")
    if not seeds or len(set(seeds)) < len(seeds) or min(seeds) < 0 or max(seeds) > 2**31:
        raise ValueError("seeds: give at least one seed, each once, between 0 and 2**31")
    for label, part, known in (
        ("intermediate", study.intermediate, [*tasks.INTERMEDIATE, "multi"]),
        ("transfer", study.transfer, tasks.TARGETS),
    ):
        for name in part.tasks:
            near(name, known, "task")
        for where, t in [("", part)] + [(f"tasks.{k}.", v) for k, v in part.tasks.items()]:
            at = f"{label}.{where}"
            if t.steps is not None and t.epochs is not None:
                raise ValueError(f"{at}steps and {at}epochs exclude each other")
        if part.steps is None and part.epochs is None:
            raise ValueError(f"{label}.steps or {label}.epochs is needed")
    for label, some, all_ in (
        ("intermediate.dosed", study.intermediate.dosed, study.intermediate.variants),
        ("transfer.dose_targets", study.transfer.dose_targets, study.transfer.targets),
    ):
        for name in some:
            if name not in all_ or name.split("+")[0] == "none":
                raise ValueError(f"{label}: {name!r} is not trained by this study")
    for pair in study.correlation.primary:
        if len(pair) != 2:
            raise ValueError(f"correlation.primary: {pair} is not a pair [predictor, outcome]")
        near(pair[1], [*tasks.TARGETS, "average"], "outcome")
    if LONGER in study.intermediate.variants and study.intermediate.steps is None:
        raise ValueError(f"variant {LONGER} needs intermediate.steps: additional steps")
    if study.correlation.outcome == "gain" and "none" not in study.intermediate.variants:
        raise ValueError(
            "intermediate.variants: a gain is the difference from none, which is missing; "
            "add none, or set correlation.outcome to score"
        )
    for name, langs in study.transfer.languages.items():
        card = near(name, tasks.TARGETS, "target")
        for lang in langs:
            if lang not in card.languages:
                hint = ", ".join(card.languages)
                raise ValueError(f"{name} has no language {lang!r}; it has {hint}")
