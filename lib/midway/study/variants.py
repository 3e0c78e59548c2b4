"""Names of variants (``mnli+shuffled``) and of their doses (``mnli@0.5``)."""

from midway.study import tasks
from midway.study.errors import meant

SUFFIXES = ("shuffled", "mlm", "translated", "longer")
LONGER = "none+longer"  # the baseline with as many more target steps as 01 would have trained


def near(name: str, known, what: str):
    """``known[name]``, or a ValueError that suggests the nearest name."""
    if name in known:
        return known[name] if hasattr(known, "keys") else name
    raise ValueError(f"unknown {what} {name!r}; {meant(name, known)}")


def once(names: list[str], what: str) -> list[str]:
    """``names``, or a ValueError if one occurs twice."""
    if len(set(names)) < len(names):
        raise ValueError(f"{what} {max(names, key=names.count)!r} occurs twice; name it once")
    return names


def split_variant(name: str) -> tuple[str, tuple[str, ...]]:
    """``'mnli+shuffled'`` -> ``('mnli', ('shuffled',))``; ValueError when there is no such one."""
    base, *suffixes = name.split("+")
    near(base, ["none", *tasks.INTERMEDIATE, "multi"], "variant")
    for suffix in suffixes:
        near(suffix, SUFFIXES, "variant suffix")
    if suffixes != [s for s in SUFFIXES if s in suffixes]:
        raise ValueError(
            f"variant {name!r}: write suffixes once, in the order +{' +'.join(SUFFIXES)}"
        )
    if suffixes and ("none" in base or "longer" in suffixes) and name != LONGER:
        raise ValueError(
            f"variant {name!r}: none takes no suffix but +longer, and only none takes that"
        )
    return base, tuple(suffixes)


def split_dose(name: str) -> tuple[str, float]:
    """``'mnli@0.5'`` -> ``('mnli', 0.5)``: a variant of 02 and its share of training."""
    variant, _, dose = name.partition("@")
    return variant, float(dose or 1)


def at_dose(variant: str, dose: float) -> str:
    """How 02 names a variant at a share of its training; just its name at the end."""
    return variant if dose == 1 else f"{variant}@{dose:g}"
