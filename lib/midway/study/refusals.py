"""One-line messages for refused params files: the key, the problem, the nearest valid name."""

from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from midway.study.errors import InputError, meant, one_line


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
