"""Random tables and params files: never a traceback, never another number than a slow reader gives.

A few hundred each; ``MIDWAY_FUZZ=2000`` runs as many as one likes.
"""

import math
import os
import random
from decimal import Decimal

import pytest

from midway.correlation import any_table
from midway.study import params
from midway.study.errors import InputError

COUNT = int(os.environ.get("MIDWAY_FUZZ", "150"))
BATCH = 50


class Refused(Exception):
    """What the slow reader does not accept."""


# -- a slow reader of tables, character by character ----------------------------------------------

MISSING = {"", "-", "–", "—", "−", "n/a", "na", "n.a.", "n.d.", "nan", "<na>", "#n/a", "null",
           "none", "missing", "?", ".", "..", "...", "…"}  # fmt: skip
BLANKS = "".join(chr(i) for i in range(0x110000) if chr(i).isspace()) + (
    "\u200b\u200c\u200d\u200e\u200f\u202a\u202c\u2060\u2066\u2069\ufeff\xad"
)


def split(text, sep):
    """(line, cells) of all rows that are not empty."""
    rows, line, i = [], 1, 0
    while i < len(text):
        cells, begin = [""], line
        quoted = started = False
        spaced = sep != "\t" and f'{sep} "' in text.replace("  ", " ").replace("  ", " ")
        while i < len(text):
            c = text[i]
            i += 1
            if quoted:
                if c == '"' and text[i : i + 1] == '"':
                    cells[-1] += '"'
                    i += 1
                elif c == '"':
                    quoted = False
                    if i < len(text) and text[i] not in (sep, "\n"):
                        raise Refused("text behind a quotation mark")
                else:
                    cells[-1] += c
                    line += c == "\n"
            elif c == "\r" and (sep == "\t" or text[i : i + 1] not in ("\n", "")):
                raise Refused("carriage return")
            elif c == "\n":
                line += 1
                break
            elif c == sep:
                cells.append("")
                started = False
            elif c == '"' and sep != "\t" and not cells[-1] and not started:
                quoted = started = True
            elif c == " " and spaced and not cells[-1] and not started:
                pass
            else:
                cells[-1] += c
        if quoted:
            raise Refused("open quotation mark")
        if len(cells) > 1 or cells[0].strip(" " if sep == "\t" else None):
            rows.append((begin, cells))
    return rows


def as_number(cell, comma):
    cell = cell.strip(BLANKS)
    for odd in "\xa0\u2007\u2009\u202f":
        cell = cell.replace(odd, " ")
    if cell.lower() in MISSING:
        return math.nan
    for minus in "\u2212\ufe63\uff0d":
        cell = cell.replace(minus, "-")
    for sign in "±", "+/-", "+-":
        if sign in cell:
            first, _, second = cell.partition(sign)
            if second.strip().endswith("%") or math.isnan(as_number(second, comma)):
                raise Refused(cell)
            return as_number(first.strip(), comma)
    if cell.endswith("%"):
        return as_number(cell[:-1].rstrip(), comma)
    if cell[:1] in set("‐‑‒–") and cell[1:2] in set("0123456789.,"):
        cell = "-" + cell[1:]
    head, digits = (cell[0], cell[1:]) if cell[:1] in set("+-") and cell[:1] else ("", cell)
    for gap in " '’":
        parts = digits.split(gap)
        tail = parts[-1].replace(",", ".").split(".")
        if len(parts) > 1 and 1 <= len(parts[0]) <= 3 and all(len(p) == 3 for p in parts[1:-1]):
            if len(tail) <= 2 and len(tail[0]) == 3 and parts[0].isdigit():
                digits = digits.replace(gap, "")
    if "," in digits and comma is None:
        raise Refused(cell)
    if "," in digits and comma:
        whole, _, rest = digits.partition(",")
        groups = whole.split(".")
        if len(groups) > 1 and (not 1 <= len(groups[0]) <= 3 or groups[0][:1] == "0" or
                                any(len(g) != 3 for g in groups[1:])):  # fmt: skip
            raise Refused(cell)
        if not rest:
            raise Refused(cell)
        digits = "".join(groups) + "." + rest
    elif "," in digits:
        whole, point, rest = digits.partition(".")
        groups = whole.split(",")
        if (
            groups[0][:1] == "0"
            or not 1 <= len(groups[0]) <= 3
            or any(len(g) != 3 for g in groups[1:])
        ):
            raise Refused(cell)
        digits = "".join(groups) + point + rest
    elif comma and "." in digits:
        groups = digits.split(".")
        if len(groups) < 3 or groups[0][:1] == "0" or any(len(g) != 3 for g in groups[1:]):
            raise Refused(cell)
        digits = "".join(groups)
    if not digits or any(c not in "0123456789.eE+-" for c in digits):
        raise Refused(cell)
    if digits[0] not in "0123456789." or digits.lower().startswith((".e", "e")):
        raise Refused(cell)
    try:
        value = float(Decimal(head + digits))
    except ArithmeticError:
        raise Refused(cell) from None
    if math.isinf(value):
        raise Refused(cell)
    return value


def slowly(data: bytes, unit: str, asked: list[str]):
    """{(unit, run): numbers} or Refused."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise Refused("encoding") from None
    if "\0" in text:
        raise Refused("zero bytes")
    text = text.replace("\r\n", "\n")
    if "\n" not in text.rstrip("\n"):
        text = text.replace("\r", "\n")
    fits = []
    for sep in "\t;,":
        if sep not in text.lstrip("\n").split("\n")[0]:
            continue
        try:
            rows = split(text, sep)
        except Refused:
            continue
        if rows and len(rows[0][1]) > 1 and len({len(cells) for _, cells in rows}) == 1:
            fits.append(rows)
    named = [rows for rows in fits if unit in [c.strip(BLANKS) for c in rows[0][1]]]
    fits = named if len(fits) > 1 and named else fits
    if len(fits) != 1:
        raise Refused("separator or shape")
    (_, head), *body = fits[0]
    head = [name.strip(BLANKS) for name in head]
    names = [name for name in head if name]
    if len(set(names)) < len(names) or not {unit, *asked} <= set(names):
        raise Refused("columns")
    cells = [[row[1][head.index(name)] for name in asked] for row in body]
    units = [row[1][head.index(unit)].strip(BLANKS) for row in body]
    cells = [c for c, u in zip(cells, units, strict=True) if u]
    units = [u for u in units if u]
    minus = dict.fromkeys(map(ord, "\u2212\ufe63\uff0d"), "-")
    flat = [c.strip(BLANKS).translate(minus).rstrip(" %") for row in cells for c in row]
    written = [c for c in flat if "," in c and not set(c) - set("0123456789.,-+eE")]
    comma: bool | None = False
    if written:

        def grouped(c):
            whole, _, rest = c.lstrip("+-").partition(".")
            groups = whole.split(",")
            return (1 <= len(groups[0]) <= 3 and groups[0][0] != "0" and
                    all(len(g) == 3 and g.isdigit() for g in groups[1:]) and
                    groups[0].isdigit() and not set(rest) - set("0123456789"))  # fmt: skip

        decimal = any(not grouped(c) for c in written)
        point = any(c.count(",") > 1 or c.rfind(".") > c.rfind(",") for c in written) or any(
            "." in c and "," not in c and is_plain(c) for c in flat
        )
        comma = decimal if decimal != point else None
    seen: dict[str, int] = {}
    found = {}
    for u, row in zip(units, cells, strict=True):
        found[u, seen.get(u, 0)] = [as_number(c, comma) for c in row]
        seen[u] = seen.get(u, 0) + 1
    if len(seen) < 3:
        raise Refused("units")
    return found


def is_plain(cell):
    try:
        missing = math.isnan(as_number(cell, False))
    except Refused:
        return False
    return not missing and not set(cell) - set("0123456789.+-eE")


# -- random tables --------------------------------------------------------------------------------

UNITS = ["mnli", "qqp", "None", "NA", "null", "0070", "70", "7e1", "a b", "é", "x/y", "nan", "-",
         "1,5", "squad v2", 'say "no"', "'", "#1", "=x", "True", "日本"]  # fmt: skip
ALPHABET = list(",;\t\"'\n\r .-+−–%±eE0123456789aNn\xa0\u200b\u3000_*()[]|#\\/\ufeff\x00é")
MINUS = "-−–－"


def number_text(rng, style):
    value = round(
        rng.choice([rng.uniform(-5, 100), rng.uniform(-1, 1), rng.uniform(0, 9e5)]),
        rng.randint(0, 4),
    )
    text = f"{value:,}" if style == "thousands" else str(value)
    text = text.removesuffix(".0") if rng.random() < 0.3 else text
    if style == "comma":
        text = text.replace(".", ",")
    if style == "percent":
        text += rng.choice(["%", " %"])
    if style == "spread":
        text += rng.choice([" ± 0.5", "±1", " +/- .2"])
    if style == "exponent":
        text = f"{value:.3e}"
    if style == "spaces":
        text = f"{value:,}".replace(",", rng.choice(" \xa0\u202f'"))
    return text.replace("-", rng.choice(MINUS)) if style != "exponent" else text


def table(rng) -> bytes:
    sep = rng.choice(",;\t")
    styles = ["plain"] * 6 + ["comma", "percent", "spread", "exponent", "thousands", "spaces"]
    style = {name: rng.choice(styles) for name in ("dev", "gain", "other")}
    units = rng.sample(UNITS, rng.randint(3, 9))
    units += rng.sample(units, 1) if rng.random() < 0.1 else []
    rows = [["task", "dev", "gain", "other"]]
    for unit in units:
        cells = [number_text(rng, style[name]) for name in ("dev", "gain", "other")]
        if rng.random() < 0.1:
            odd = [*sorted(MISSING), "failed", "82.1*", "inf", "1e999"]
            cells[rng.randrange(2)] = rng.choice(odd)
        rows.append([unit, *cells])
    order = rng.sample(range(4), 4)
    lines = []
    for row in rows:
        cells = [row[i] for i in order]
        if rng.random() < 0.1:
            cells[rng.randrange(4)] += rng.choice([" ", "\xa0", "\u200b"])
        if sep != "\t":
            cells = ['"' + c.replace('"', '""') + '"' if sep in c or '"' in c or rng.random() < 0.1
                     else c for c in cells]  # fmt: skip
        lines.append(sep.join(cells))
    if rng.random() < 0.05:
        lines.insert(rng.randrange(len(lines)), rng.choice(["", " ", "x", sep * 3, "# note"]))
    text = rng.choice(["\n", "\n", "\r\n", "\r"]).join(lines) + rng.choice(["\n", "", "\n\n"])
    while rng.random() < 0.4:
        at = rng.randrange(len(text) + 1)
        end = at + rng.choice([0, 0, 1, 1, 5])
        text = text[:at] + rng.choice([*ALPHABET, ""]) + text[end:]
    data = text.encode()
    if rng.random() < 0.03:
        data = data[: rng.randrange(len(data) + 1)] + bytes([rng.randrange(256)])
    return (b"\xef\xbb\xbf" if rng.random() < 0.1 else b"") + data


@pytest.mark.parametrize("batch", range(math.ceil(COUNT / BATCH)))
def test_random_tables(tmp_path, monkeypatch, batch):
    seen = {}
    monkeypatch.setattr(any_table, "correlate", lambda x, y, **_: seen.update(x=x, y=y) or x)
    path, read = tmp_path / "t.csv", 0
    for seed in range(batch * BATCH, (batch + 1) * BATCH):
        data = table(random.Random(seed))
        path.write_bytes(data)
        try:
            any_table.correlate_table(path, "task", "dev", "gain", rows_are_runs=True)
        except InputError as error:
            assert "\n" not in str(error), (seed, str(error))
            continue
        try:
            expected = slowly(data, "task", ["dev", "gain"])
        except Refused as error:
            raise AssertionError(f"{seed}: read, but {error}: {data!r}") from None
        found = {
            key: [seen["x"].loc[key, "dev"], seen["y"].loc[key, "gain"]] for key in seen["x"].index
        }
        assert found.keys() == expected.keys(), (seed, data)
        for key, numbers in expected.items():
            same = [a == b or (a != a and b != b) for a, b in zip(found[key], numbers, strict=True)]
            assert all(same), (seed, key, found[key], numbers, data)
        read += 1
    assert read > BATCH / 5  # most of what people write is read


# -- random params files --------------------------------------------------------------------------


def core(text: str):
    """YAML 1.2's core schema for one bare or quoted scalar, without regular expressions."""
    if len(text) > 1 and text[0] == text[-1] == "'":
        return text[1:-1].replace("''", "'")
    if text in ("", "~", "null", "Null", "NULL"):
        return None
    if text in ("true", "True", "TRUE", "false", "False", "FALSE"):
        return text.lower() == "true"
    digits = set("0123456789")
    if text[:2] == "0o" and text[2:] and not set(text[2:]) - set("01234567"):
        return sum(int(c) * 8**i for i, c in enumerate(reversed(text[2:])))
    if text[:2] == "0x" and text[2:] and not set(text[2:].lower()) - set("0123456789abcdef"):
        return sum(
            "0123456789abcdef".index(c) * 16**i for i, c in enumerate(reversed(text[2:].lower()))
        )
    body = text[1:] if text[0] in "+-" else text
    sign = -1 if text[0] == "-" else 1
    if body and not set(body) - digits:
        return sign * sum(int(c) * 10**i for i, c in enumerate(reversed(body)))
    if body in (".inf", ".Inf", ".INF"):
        return sign * math.inf
    if text in (".nan", ".NaN", ".NAN"):
        return math.nan
    mantissa, mark, exponent = body.lower().partition("e")
    whole, _, part = mantissa.partition(".")
    power = exponent[1:] if exponent[:1] in ("+", "-") else exponent
    if set(whole + part) - digits or not (whole or part) or set(power) - digits:
        return text
    return text if mark and not power else float(Decimal(text))


SCALARS = (
    """010 001 0o17 0x1F 1:30 1e3 1e-5 .5 5. 0.1 1 2 7 08 1_000 no yes on off true False ~
    null .inf .nan -1 +3 2020-01-01 mnli none '010' 'no' 0b11 1e x 99999999999 = 12.0 bf16 cpu 1e400
    é""".split()
    + [""]
)
KEYS = {
    "intermediate": ["steps", "batch_size", "lr", "train_size", "eval_size", "warmup", "mlm_alpha"],
    "transfer": ["steps", "batch_size", "lr", "train_size", "layer_sweep", "controls", "direction"],
    "compute": ["threads", "precision", "device", "save_every", "cache_trunk"],
    "data": ["seed", "dev_size", "test_size"],
    "correlation": ["alpha", "permutations", "resamples"],
}

WHOLE = ["16", "016", "0o20", "0x10", "+16"]
SHARE = [".5", "0.5", "5e-1", "5.0E-1", "+.5"]
GOOD = {"lr": ["1e-4", "0.0001", "1E-04", "+1.0e-4"], "warmup": SHARE, "mlm_alpha": SHARE,
        "alpha": SHARE, "layer_sweep": ["true", "FALSE"], "controls": ["True", "false"],
        "cache_trunk": ["true", "False"], "direction": ["both", "'both'"], "precision": ["fp32"],
        "device": ["cpu", "auto"], "permutations": ["999", "0999", "0x3e7", "1000"],
        "resamples": ["999", "0999", "0x3E7", "1000"], "train_size": [*WHOLE, "~", "null"],
        "dev_size": [*WHOLE, "~"], "test_size": [*WHOLE, ""]}  # fmt: skip


def study_file(rng):
    """(text, the value of every key) in plain block style."""
    odd = rng.random() < 0.3
    tree = {"study": rng.choice(["x", "'010'", "a-b", rng.choice(SCALARS) if odd else "y"])}
    tree["seeds"] = rng.sample(["010", "001", "0o17", "0x1F", "7", "08", "+3", "0x1f1", "99"], 2)
    for group in rng.sample(list(KEYS), rng.randint(1, 5)):
        for key in rng.sample(KEYS[group], rng.randint(1, 3)):
            tree[group, key] = rng.choice(
                SCALARS if odd and rng.random() < 0.4 else GOOD.get(key, WHOLE)
            )
    for group in ("intermediate", "transfer"):
        tree.setdefault((group, "steps"), rng.choice(["3", "003", "0o3", "0x3", "+3"]))
    lines = [f"study: {tree['study']}", f"seeds: [{', '.join(tree['seeds'])}]"]
    for group in KEYS:
        own = {k[1]: v for k, v in tree.items() if k[0] == group}
        if own:
            lines += [f"{group}:", *(f"  {key}: {value}" for key, value in own.items())]
    return "\n".join(lines) + "\n", tree


@pytest.mark.parametrize("batch", range(math.ceil(COUNT / BATCH)))
def test_random_params_files(tmp_path, batch):
    path, read = tmp_path / "p.yaml", 0
    for seed in range(batch * BATCH, (batch + 1) * BATCH):
        rng = random.Random(seed)
        text, tree = study_file(rng)
        broken = rng.random() < 0.4
        while broken and rng.random() < 0.7:
            at = rng.randrange(len(text) + 1)
            odd = rng.choice(
                [*ALPHABET, ":", "{", "}", "&a ", "*a", "!!", "? ", "- ", "<<: ", "\t"]
            )
            text = text[:at] + odd + text[at + rng.randint(0, 2) :]
        path.write_text(text, encoding="utf-8", newline="")
        try:
            study = params.load(path)
        except InputError as error:
            assert "\n" not in str(error), (seed, str(error))
            continue
        if broken:
            continue
        read += 1
        assert study.study == core(tree["study"]), (seed, text)
        assert study.seeds == [core(s) for s in tree["seeds"]], (seed, text)
        for (group, key), value in ((k, v) for k, v in tree.items() if isinstance(k, tuple)):
            found = getattr(getattr(study, group), key)
            assert found == core(value) and type(found) in (type(core(value)), float), (seed, text)
    assert read
