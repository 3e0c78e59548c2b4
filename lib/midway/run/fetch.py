"""The data and encoder of a study: `midway fetch` downloads them, `midway doctor` checks them.

What a study reads follows from its settings alone (:func:`reads`), so that a machine with a network
can fill the hub's cache (HF_HOME) for machines without one.
"""

import shutil
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from huggingface_hub import constants

from midway.data import hub, sources
from midway.run.steps import trained_on
from midway.study import params, repository, tasks
from midway.study.errors import InputError, MissingData, Unreachable


def reads(study: params.Study) -> dict[str, list[tuple[str, str]]]:
    """Task -> (split, language) pairs that its steps load, in the cards' order."""
    found: dict[str, list[tuple[str, str]]] = {}

    def add(name, split, languages: Iterable[str] = ("en",)):
        found.setdefault(name, []).extend((split, lang) for lang in languages)

    for variant in study.intermediate.variants:
        _, suffixes = params.split_variant(variant)
        for name in trained_on(variant):
            add(name, "train")
            add(name, "dev")
            if "translated" in suffixes:
                more = study.intermediate.translated_languages
                add(name, "train", more or sources.languages(name, study.data))
    for name in ("mnli", "qqp"):
        add(name, "dev")
    probed = study.intermediate.probe_languages or sources.evaluated(study, "xnli")
    add("xnli", "dev", dict.fromkeys(["en", *probed]))
    for name in study.transfer.targets:
        card = tasks.get(name)
        if card.trains:
            add(name, "train")
            if study.transfer.selections:
                add(name, "dev")
        elif card.kind == "mining":
            add(name, "dev", sources.evaluated(study, name))
        add(name, "test", sources.evaluated(study, name))
    order = [*tasks.INTERMEDIATE, *tasks.TARGETS]
    return {n: list(dict.fromkeys(found[n])) for n in order if n in found}


def needed(study: params.Study) -> set[str]:
    """Tasks that the study cannot do without (not needed only for a probe or `multi`)."""
    return {params.split_variant(v)[0] for v in study.intermediate.variants} | {
        *study.transfer.targets,
        *(tasks.get(t).train_key for t in study.transfer.targets),
    }


@dataclass
class Holdings:
    """Files of a task that are in the cache, and the hub's listing of the others."""

    parts: dict[tuple[str, str], list[dict]] = field(default_factory=dict)  # (split, language)
    missing: list[str] = field(default_factory=list)  # what no source has, with the reason
    unreachable: str = ""  # why the hub could not be asked
    files: dict[tuple, tuple[int, bool]] = field(default_factory=dict)  # -> bytes, whether here

    def size(self, absent: bool = False) -> int:
        return sum(size for size, here in self.files.values() if not (absent and here))

    def __str__(self) -> str:
        parts = [part for own in self.parts.values() for part in own]
        at = dict.fromkeys(f"{part['id']} at {part['revision'][:12]}" for part in parts)
        return f"{len(self.files)} files, {megabytes(self.size())} ({', '.join(at)})"


def holdings(study: params.Study, name: str, wanted, waits=()) -> Holdings:
    """Look a task up: in the hub's cache and, unless ``waits`` is None, in its listings."""
    out = Holdings()
    for split, lang in wanted:
        try:
            parts = sources.on_hub(name, split, lang, study.data)
        except MissingData as error:
            out.missing.append(f"{split} {lang}: {error.reason}")
            continue
        for part in parts:
            place, choose = (part["id"], part["revision"]), hub.chooser(part)
            try:
                here = repository.here(*place, choose)
                sizes = repository.listing(*place, waits=None if out.unreachable else waits)
                names = choose(list(sizes)) if sizes else [str(p) for p in here or [choose]]
                got = {n: (sizes[n] if sizes else 0, here is not None) for n in names}
                out.files |= {(*place, n): found for n, found in got.items()}
            except repository.Absent as error:
                out.missing.append(f"{split} {lang}: {error}")
                parts = []
                break
            except Unreachable as error:
                out.unreachable = str(error)
                out.files[*place, choose] = (0, False)
        if parts:
            out.parts[split, lang] = parts
    return out


def fetch(study: params.Study) -> int:
    """Download, verify and list what a study reads; exit code 0, or 1 if something is missing."""
    sources.refuse(study)
    missing, later = _encoder(study)
    wanted = reads(study)
    for name in wanted:
        if later and (away := repository.unreachable()):
            later.append(f"{name} and what follows were not asked for: {away}")
            break
        for known, more in zip((missing, later), _task(study, name, wanted[name]), strict=True):
            known += more
    if missing:
        print(f"missing: {len(missing)}", *missing, sep="\n  ")
    if later:
        print(f"not available now: {len(later)}; run `midway fetch` again", *later, sep="\n  ")
    if missing or later:
        return 1
    print("all files are here and agree with the hub's list")
    if "hub" in (study.data.source, study.encoder.kind):
        print("the study now runs without a network: export HF_HUB_OFFLINE=1")
    return 0


def _encoder(study) -> tuple[list[str], list[str]]:
    """Fetch the encoder and load it, so that errors show now; returns the same as :func:`_task`."""
    from midway.encoder import checkpoints, encoder

    enc = study.encoder
    try:
        if enc.kind == "hub":
            sizes = repository.listing(*enc.place, "model", repository.WAITS) or {}
            size = sum(sizes[name] for name in checkpoints.wanted(list(sizes)))
            print(f"encoder: {enc.name} at {enc.place[1][:12]}, {megabytes(size)}", flush=True)
            here = repository.here(*enc.place, checkpoints.wanted, "model")
            if (free := room()) < size and not here:
                return [f"encoder: {_full(free)}"], []
        found = encoder.load(enc)
    except (InputError, repository.Absent) as error:
        return [f"encoder: {error}"], []
    except Unreachable as error:
        return [], [f"encoder: {error}"]
    print(f"  loads: {found.layers} layers, width {found.hidden_size}")
    return [], []


def _task(study, name: str, wanted) -> tuple[list[str], list[str]]:
    """Fetch, verify and read one task's rows: (missing, not available now), with reasons."""
    known = holdings(study, name, wanted, repository.WAITS)
    card, load = tasks.get(name), known.size(absent=True)
    rest = f"; {megabytes(load)} to download" if load else ", in the cache"
    if known.unreachable:
        return [], [f"{name}: {known.unreachable}"]
    if study.data.source != "mini" and (known.parts or not known.missing):
        print(f"{name}: {known}{rest}" if known.parts else f"{name}: your own files", flush=True)
    if known.missing:
        print(f"  get it: {card.get}; commands: docs/official-files.md")
    if (free := room()) < load:
        return [f"{name}: {_full(free)}"], []
    missing, later = [f"{name} {reason}" for reason in known.missing], []
    for split, lang in known.parts:
        try:
            sources.load(name, split, lang, study.data, 1)
        except InputError as error:
            missing.append(f"{name} {split} {lang}: {getattr(error, 'reason', error)}")
        except Unreachable as error:
            later.append(f"{name} {split} {lang}: {error}")
            if not error.final:
                break  # each attempt waits
    if note := sources.note(card, study.data):
        print(f"  note: {note}")
    if name not in needed(study):
        for reason in missing:
            print(f"  not available, only for `multi` or a probe: {reason}")
        missing = []
    return missing, later


def _full(free: int) -> str:
    return f"{megabytes(free)} free for {constants.HF_HUB_CACHE}; set HF_HOME to another disk"


def room() -> int:
    """Free bytes on the disk of the hub's cache."""
    cache = Path(constants.HF_HUB_CACHE)
    return shutil.disk_usage(next(p for p in (cache, *cache.parents) if p.exists())).free


def megabytes(size: float) -> str:
    return f"{size / 1e6:,.1f} MB"
