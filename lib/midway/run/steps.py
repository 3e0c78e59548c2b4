"""A study's steps: which notebook runs for which variant, seed and targets, and what it reads."""

from dataclasses import dataclass
from pathlib import Path

from midway.study import tasks
from midway.study.files import root
from midway.study.params import Study
from midway.study.variants import split_dose, split_variant

STEPS = ("01_intermediate", "02_transfer", "03_correlation", "04_published", "05_report")


@dataclass(frozen=True)
class StepId:
    """One job: a notebook with its variant, seed and part of the targets."""

    step: str
    variant: str | None = None
    seed: int | None = None
    part: str | None = None

    @property
    def path(self) -> str:
        """Folder below outputs/<study>, e.g. 02_transfer/mnli/seed1/part1."""
        seed = None if self.seed is None else f"seed{self.seed}"
        return "/".join(p for p in (self.step, self.variant, seed, self.part) if p)

    @property
    def notebook(self) -> Path:
        return root() / "notebooks" / f"{self.step}.ipynb"


def steps(study: Study) -> list[StepId]:
    """Every job of a study, each after what it reads."""
    runs = [(v, s) for s in study.seeds for v in study.intermediate.variants]
    carried = [(v, s) for s in study.seeds for v in study.carried()]
    return (
        [StepId(STEPS[3])]
        + [StepId(STEPS[0], v, s) for v, s in runs]
        + [StepId(STEPS[1], v, s, p) for v, s in carried for p in study.parts(v)]
        + [StepId(STEPS[2]), StepId(STEPS[4])]
    )


def upstream(study: Study, sid: StepId) -> list[StepId]:
    """The jobs whose records a job reads."""
    if sid.step == STEPS[1]:
        return [StepId(STEPS[0], split_dose(str(sid.variant))[0], sid.seed)]
    if sid.step == STEPS[2]:
        return [s for s in steps(study) if s.step in STEPS[:2]]
    if sid.step == STEPS[4]:
        return [s for s in steps(study) if s.step != STEPS[4]]
    return []


def trained_on(variant: str | None) -> tuple[str, ...]:
    """Intermediate tasks in a variant: none, one, or all nine for multi."""
    base, _ = split_variant(variant or "none")
    return {"none": (), "multi": tuple(tasks.INTERMEDIATE)}.get(base, (base,))


def targets_of(study: Study, sid: StepId) -> list[str]:
    """Targets of a 02 job (all of the study's when the part is None)."""
    return study.parts(sid.variant or "")[sid.part] if sid.part else list(study.transfer.targets)
