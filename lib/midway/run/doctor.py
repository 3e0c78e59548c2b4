"""Preflight checks: encoder, data, disk, device; and where to get what is missing.

The only downloads are listings of the hub's repositories, one request each.
"""

import os
import shutil
from collections.abc import Iterator
from importlib import metadata

from midway.data import sources
from midway.encoder import checkpoints, packaged
from midway.run import cost, fetch, hashes, machine
from midway.study import params, repository, tasks
from midway.study.errors import InputError, MissingData, Unreachable
from midway.study.files import root

AWAY = "not in the cache, and the hub cannot be reached (see above)"
PROCESS_GB = 1.2  # Python, torch, tokenizer and data: peak_rss_mb of a job without training


def checks(study: params.Study) -> list[dict]:
    """Rows ``{what, ok, detail}``; ok is None for information."""
    rows = []
    hub = "hub" in (study.encoder.kind, study.data.source)
    away = repository.unreachable() if hub else ""
    if away:
        rows.append(_row("hub", None, f"{away}: only the cache is used"))
    for check in (_versions, _encoder, _device, _disk, _data):
        try:
            rows += check(study, not away) if check in (_encoder, _data) else check(study)
        except InputError as error:
            if str(error) not in [row["detail"] for row in rows]:  # once is enough
                rows.append(_row(check.__name__.strip("_"), False, str(error)))
    return rows


def _row(what: str, ok: bool | None, detail: str, away: bool = False) -> dict:
    """away: it is not available now, but may exist."""
    return {"what": what, "ok": ok, "detail": detail, "away": away}


def _versions(study) -> list[dict]:
    lock = root() / "requirements.lock"
    if not lock.is_file():
        return [_row("versions", None, f"{lock} is missing; versions are not compared")]
    other, absent = [], []
    for line in lock.read_text(encoding="utf-8").splitlines():
        name, sign, version = line.partition(";")[0].split("#")[0].strip().partition("==")
        if not sign:
            continue
        try:
            found = metadata.version(name)
            if found.split("+")[0] != version.split("+")[0]:
                other.append(f"{name} {found} (lock: {version})")
        except metadata.PackageNotFoundError:
            if ";" not in line and name not in ("pip", "setuptools", "wheel"):
                absent.append(name)
    if absent:
        return [_row("versions", False, f"not installed: {', '.join(absent)} (run `make lab`)")]
    same = "all packages as in requirements.lock"
    return [_row("versions", None if other else True, "; ".join(other) or same)]


def _encoder(study, ask: bool) -> list[dict]:
    enc = study.encoder
    if enc.kind == "packaged":
        folder = packaged.cache_folder() / f"e5-small-{packaged.SHA256[:12]}-v{packaged.FORMAT}"
        if packaged.intact(folder):
            return [_row("encoder", True, f"decoded: {folder}")]
        try:
            version = metadata.version(packaged.PACKAGE)
        except metadata.PackageNotFoundError:
            return [_row("encoder", False, f"{packaged.PACKAGE} is missing; {packaged.USE_HUB}")]
        return [_row("encoder", True, f"{packaged.PACKAGE} {version}; decoded at first use")]
    if enc.kind == "path":
        return [_row("encoder", True, f"{enc.folder}: {_checkpoint(enc.folder, 'encoder.path')}")]
    where, place = enc.place, f"{enc.name} at {enc.place[1][:12]}"
    try:
        if repository.here(*where, checkpoints.wanted, "model"):
            facts = _checkpoint(repository.snapshot(*where, "model"), "encoder.name")
            return [_row("encoder", True, f"{place}, in the cache: {facts}")]
        if (sizes := repository.listing(*where, "model", () if ask else None)) is None:
            return [_row("encoder", False, f"{place}: {AWAY}", away=True)]
        size = fetch.megabytes(sum(sizes[n] for n in checkpoints.wanted(list(sizes))))
        return [_row("encoder", None, f"{place}: {size} to download: midway fetch")]
    except (repository.Absent, Unreachable) as error:
        return [_row("encoder", False, str(error), isinstance(error, Unreachable))]


def _checkpoint(folder, key: str) -> str:
    """Describe a checkpoint; InputError if training with it would fail."""
    known = checkpoints.inspect(folder, key)
    weights = f"{known['weights'] / 1e6:,.0f} M weights, {known['pieces']:,} pieces"
    return f"{known['model_type']}, {known['layers']} layers, {weights}"


def _device(study) -> Iterator[dict]:
    """The device, and whether training jobs fit into its memory (by ``cost``)."""
    gpus = machine.gpus(study.compute)
    if given := os.environ.get("CUDA_VISIBLE_DEVICES"):  # CUDA takes no GPU twice
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(dict.fromkeys(given.split(",")))
    try:
        import torch
    except Exception as error:  # absent, or a library that it loads is: ImportError, OSError, ...
        line = (str(error).splitlines() or [type(error).__name__])[0][:160]
        raise InputError(f"torch cannot be imported ({line}); `make lab` installs it") from None
    cores, threads, wanted = machine.cores(), study.compute.threads, study.compute.device
    wrong = f"compute.threads is {threads}, this process may use {cores} cores"
    wrong, gpu = wrong * (threads > cores), wanted != "cpu" and torch.cuda.is_available()
    if gpu:
        what = f"{torch.cuda.device_count()} x {torch.cuda.get_device_name()}, "
        what += f"{len(gpus)} job(s) at once"
        jobs = max(map(gpus.count, gpus), default=1)  # on one GPU
        have, place = torch.cuda.get_device_properties(0).total_memory, "GPU memory"
    else:
        jobs = max(1, cores // threads)  # helpers count as jobs
        what = f"CPU, {cores} cores, {jobs} jobs of {threads} thread(s) at once"
        have, place = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"), "memory"
        if wanted == "cuda":
            wrong = "compute.device is cuda, but torch sees no GPU: use auto"
    yield _row("device", not wrong, wrong or what)
    need = cost.memory_gb(study)["total"] + PROCESS_GB * (not gpu)
    detail = f"about {need:.1f} GB a training job, {jobs} at once, {have / 1e9:.1f} GB of {place}"
    fits = need * jobs <= have / 1e9
    less = "smaller batch_size with accumulation, compute.gradient_checkpointing or --cores"
    yield _row("memory", fits or None, detail + f": may not suffice; {less}" * (not fits))


def _disk(study) -> list[dict]:
    folder = root() / "outputs" / study.study
    place = next(p for p in (folder, *folder.parents) if p.exists())
    if not place.is_dir():
        return [_row("disk", False, f"{place} is a file where a folder must be; move it away")]
    if not os.access(place, os.W_OK):
        return [_row("disk", False, f"{place} cannot be written")]
    free, trunk = shutil.disk_usage(place).free / 2**20, 0.0
    runs = len(study.carried()) * len(study.seeds)
    encoders = runs * (4 * cost.trained(study) / 2**20 + 5)
    detail = f"about {encoders:,.0f} MB for encoders"
    if study.compute.cache_trunk and study.encoder.frozen_layers:
        tokens = sum(row["tokens"] for row in cost.estimate(study))
        trunk = 2 * tokens * cost.shape(study)[1] / 2**20
        detail += f" and {trunk:,.0f} MB for the output of frozen layers"
    return [_row("disk", free > encoders + trunk, f"{detail}; {free:,.0f} MB free in {place}")]


def _data(study, ask: bool) -> list[dict]:
    bases = {params.split_variant(v)[0] for v in study.intermediate.variants}
    rows, files = [], {}
    for name, wanted in fetch.reads(study).items():
        card = tasks.get(name)
        if sources.source(card, study.data) == "hub":
            known = fetch.holdings(study, card.name, wanted, () if ask else None)
            files |= known.files
            row = _hub(study, card, known, ask)
        else:
            row = _files(study, card, wanted)
        if row["ok"] is False and not row["away"] and name not in fetch.needed(study):
            multi = "multi" in bases and name in tasks.INTERMEDIATE
            out = "`multi` is trained without it" if multi else "only a probe needs it"
            row |= {"ok": None, "detail": f"{out}: {row['detail']}"}
        rows.append(row)
    if load := sum(size for size, here in files.values() if not here):
        free, cache = fetch.room(), fetch.constants.HF_HUB_CACHE
        detail = f"{fetch.megabytes(load)} of data in all; {fetch.megabytes(free)} free for {cache}"
        rows.append(_row("download", None if load < free else False, detail))
    return rows


def _hub(study, card, known, ask: bool) -> dict:
    """State of a hub task: cached, to be downloaded, absent, or unknown while the hub is away."""
    note = f"; {text}" if (text := sources.note(card, study.data)) else ""
    if known.missing:
        return _row(card.name, False, f"{_some(known.missing)} (get it: {card.get})")
    absent = sum(not here for _, here in known.files.values())
    if not absent:
        return _row(card.name, None if note else True, f"{known}, in the cache{note}")
    if known.unreachable or not ask:
        return _row(card.name, False, (known.unreachable or AWAY) + note, away=True)
    size = fetch.megabytes(known.size(absent=True))
    detail = f"{known}; {absent} files, {size} to download: midway fetch{note}"
    return _row(card.name, None, detail)


def _some(reasons: list[str]) -> str:
    return "; ".join(reasons[:3]) + (f"; and {len(reasons) - 3} more" if reasons[3:] else "")


def _files(study, card, wanted) -> dict:
    counts, missing = {}, []
    made = sources.source(card, study.data) == "mini"
    for split, lang in wanted:
        try:
            size = 50 if made else None  # packs refuse very few rows
            counts[split, lang] = len(sources.load(card.name, split, lang, study.data, size))
        except MissingData as error:
            missing.append(f"{split} {lang}: {error.reason}")
            where = error.where
    if missing:
        hint = f" (get it: {where})" if where else ""
        return _row(card.name, False, _some(missing) + hint)
    if made:
        some = f"{len(counts)} splits and languages" if len(counts) > 1 else "1 split"
        return _row(card.name, True, f"miniature, {some}")
    kept = root() / "outputs" / study.study / hashes.INDEX
    content = hashes.data_hashes(study, [card.name], kept if kept.exists() else None)
    detail = f"{sum(counts.values()):,} rows in {len(counts)} splits and languages"
    detail += f", content {content[card.name][:12]}"
    train = counts.get(("train", "en"))
    if train and card.train_size and train != card.train_size:
        detail += f"; {train:,} training rows, officially {card.train_size:,}"
        return _row(card.name, None, detail)
    return _row(card.name, True, detail)


def show(rows: list[dict]) -> str:
    """The checks as text, one per line, and the number of checks that would make a run fail."""

    def mark(row) -> str:
        if row["ok"] is False:
            return "NOT NOW" if row["away"] else "MISSING"
        return "ok" if row["ok"] else "note"

    width = max(len(row["what"]) for row in rows)
    lines = [f"{mark(r):7}  {r['what']:{width}}  {r['detail']}" for r in rows]
    for name, title in (("MISSING", "missing"), ("NOT NOW", "not available now")):
        if found := [row["what"] for row in rows if mark(row) == name]:
            lines.append(f"{title}: {len(found)} ({', '.join(found)})")
    return "\n".join(lines)
