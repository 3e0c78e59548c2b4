"""What a study reads: `midway fetch` downloads it, `midway doctor` checks it.

What a study reads follows from its settings alone (:func:`reads`), so that a machine with a network
can fill the hub's cache (HF_HOME) for machines without one.
"""

import shutil
import sys
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
    """Tasks without which something the study asks for is missing (not only a probe or `multi`)."""
    return {params.split_variant(v)[0] for v in study.intermediate.variants} | {
        *study.transfer.targets,
        *(tasks.get(t).train_key for t in study.transfer.targets),
    }


@dataclass
class Holdings:
    """Files of a task that are in the cache, and the hub's listing of the others."""

    parts: dict[str, dict] = field(default_factory=dict)  # "split lang" -> a part on the hub
    missing: list[str] = field(default_factory=list)  # what no source has, with the reason
    unreachable: str = ""  # why the hub could not be asked
    files: dict[tuple, tuple[int, bool]] = field(default_factory=dict)  # -> bytes, whether here

    def size(self, absent: bool = False) -> int:
        return sum(size for size, here in self.files.values() if not (absent and here))

    def __str__(self) -> str:
        at = {f"{part['id']} at {part['revision'][:12]}": None for part in self.parts.values()}
        return f"{len(self.files)} files, {megabytes(self.size())} ({', '.join(at)})"


def holdings(study: params.Study, name: str, wanted, ask: bool) -> Holdings:
    """Look a task up: in the hub's cache and, with ``ask``, in its listings (one request each)."""
    out = Holdings()
    for split, lang in wanted:
        try:
            parts = sources.on_hub(name, split, lang, study.data)
        except MissingData as error:
            out.missing.append(f"{split} {lang}: {error.reason}")
            continue
        for i, part in enumerate(parts):
            place, choose = (part["id"], part["revision"]), hub.chooser(part)
            try:
                here = repository.here(*place, choose)
                sizes = repository.listing(*place, ask=ask and not out.unreachable)
                names = choose(list(sizes)) if sizes else [str(p) for p in here or [choose]]
                got = {n: (sizes[n] if sizes else 0, here is not None) for n in names}
                out.files |= {(*place, n): found for n, found in got.items()}
            except repository.Absent as error:
                out.missing.append(f"{split} {lang}: {error}")
                continue
            except Unreachable as error:
                out.unreachable = str(error)
                out.files[*place, choose] = (0, False)
            out.parts[f"{split} {lang}{i or ''}"] = part
    return out


def fetch(study: params.Study) -> int:
    """Download, verify and list what a study reads; the exit code: 0, or 1 when something lacks."""
    sources.refuse(study)
    bad = _encoder(study)
    for name, wanted in reads(study).items():
        bad += _task(study, name, wanted)
    print(
        f"missing: {len(bad)}" if bad else "all is here and as the hub lists it", *bad, sep="\n  "
    )
    if not bad and "hub" in (study.data.source, study.encoder.kind):
        print("the study now runs without a network: export HF_HUB_OFFLINE=1")
    return 1 if bad else 0


def _encoder(study) -> list[str]:
    """Fetch and load the encoder, so that what does not fit is known now; what is wrong with it."""
    from midway.encoder import checkpoints, encoder

    enc = study.encoder
    try:
        if enc.kind == "hub":
            sizes = repository.listing(*enc.place, kind="model") or {}
            size = sum(sizes[name] for name in checkpoints.wanted(list(sizes)))
            print(f"encoder: {enc.name} at {enc.place[1][:12]}, {megabytes(size)}", flush=True)
            checkpoints.hub_folder(*enc.place, sys.stderr.isatty())
        found = encoder.load(enc)
    except (InputError, Unreachable, repository.Absent) as error:
        return [f"encoder: {error}"]
    print(f"  loads: {found.layers} layers, {found.hidden_size} wide")
    return []


def _task(study, name: str, wanted) -> list[str]:
    """Fetch and verify one task's files; what is missing."""
    known = holdings(study, name, wanted, ask=True)
    card, load = tasks.get(name), known.size(absent=True)
    rest = f"; {megabytes(load)} to download" if load else ", in the cache"
    if study.data.source != "mini":
        print(f"{name}: {known}{rest}" if known.parts else f"{name}: files of your own", flush=True)
    if known.missing:
        print(f"  get it: {card.get}; commands: docs/official-files.md")
    if (free := room()) < load:
        return [f"{name}: {megabytes(free)} free for {constants.HF_HUB_CACHE}; set HF_HOME"]
    bad = [f"{name} {reason}" for reason in known.missing]
    for label, part in known.parts.items():
        try:
            place = part["id"], part["revision"]
            repository.files(*place, hub.chooser(part), bars=sys.stderr.isatty())
        except (repository.Absent, InputError, Unreachable) as error:
            bad.append(f"{name} {label}: {error}")
            if isinstance(error, Unreachable):
                break  # each attempt waits
    if note := sources.note(card, study.data):
        print(f"  note: {note}")
    if name not in needed(study):
        for reason in bad:
            print(f"  not there, only for `multi` or a probe: {reason}")
        bad = [reason for reason in bad if known.unreachable]
    return bad


def room() -> int:
    """Free bytes on the disk of the hub's cache."""
    cache = Path(constants.HF_HUB_CACHE)
    return shutil.disk_usage(next(p for p in (cache, *cache.parents) if p.exists())).free


def megabytes(size: float) -> str:
    return f"{size / 1e6:,.1f} MB"
