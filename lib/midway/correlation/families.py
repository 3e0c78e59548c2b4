"""Tests and intervals for units in families (SQuAD 1 and 2; three NLI sets).

Members of a family share data, labels and makers, so nine tasks of five families are not nine
independent points. Tests permute the family means of the outcome between families and the
deviations from them within families, since each level is exchangeable on its own (Anderson & ter
Braak 2003; blocks, Winkler et al. 2015), and give the observed values in the order that results:
then a sum of two parts is no likelier to be extreme than what was seen. Intervals are widened to
the effective number of units of two variables that are both correlated within families (Clifford,
Richardson & Hemon 1989).
"""

import numpy as np
from scipy.stats import rankdata

from midway.correlation import intervals as iv
from midway.correlation import resampling as rs
from midway.study.errors import InputError

COLUMNS = ["families", "rho_family", "p_family", "lofo_low", "lofo_high"]


def without_composites(X, Y, families):
    """X, Y of the units that have a family, and the composites' names.

    families: Series, unit -> family; a missing value marks a composite (a mixture of other units).
    """
    units = X.index.get_level_values(0).union(Y.index.get_level_values(0))
    unknown = units.difference(families.index)
    if len(unknown):
        raise InputError(f"families: no entry for {', '.join(map(str, unknown[:5]))}")
    kept = families.index[families.notna()]
    X, Y = (t[t.index.get_level_values(0).isin(kept)] for t in (X, Y))
    return X, Y, sorted(units.difference(kept))


def means(a, family):
    """(n, C) -> (F, C)."""
    _, inside, size = np.unique(family, return_inverse=True, return_counts=True)
    first = np.cumsum(size) - size
    return rs.tied(np.add.reduceat(a[np.argsort(inside, kind="stable")], first) / size[:, None])


def null(x, y, family, orders, family_orders, method):
    """Yield (slice, correlations (b, P, O)) of outcomes with families and members permuted.

    orders (m, n) and family_orders (m, F): permutations of the units and of all families.
    """
    values = y if method == "pearson" else rankdata(y, axis=0)
    vx, ranked = rs.vectors(x, method), np.sort(values, 0)
    step = max(1, rs.BLOCK // max(1, len(vx) * (vx.shape[1] + y.shape[1])))
    for at, moved in permuted(values, family, orders, family_orders, step):
        like = np.empty_like(moved)  # the same values as observed, in the new order
        np.put_along_axis(like, moved.argsort(1, kind="stable"), ranked[None], 1)
        kind = "pearson" if method == "spearman" else method
        yield at, vx.T @ rs.vectors(like, kind)


def permuted(values, family, orders, family_orders, step):
    """Yield (slice, values (b, n, C)): means moved between families, deviations within them."""
    names, inside = np.unique(family, return_inverse=True)
    between, place = means(values, family), np.argsort(inside, kind="stable")
    rest = values - between[inside]
    for start in range(0, len(orders), step):
        unit = orders[start : start + step]
        group = rs.restrict(family_orders[start : start + step], names)
        mixed = np.take_along_axis(unit, np.argsort(inside[unit], 1, kind="stable"), 1)
        moved = between[group][:, inside]
        moved[:, place] += rest[mixed]
        yield slice(start, start + len(unit)), moved


def beside(x, y, family, found, method, permutations, rng):
    """What families add to the cells of a block: COLUMNS, and p and intervals that fit them."""
    count, shape = len(np.unique(family)), found["rho"].shape
    out = {"families": np.full(shape, float(count))}
    if count < rs.MIN_UNITS:
        return out | {"p": np.full(shape, np.nan), "note": f"{count} families: too few"}
    mx, my = means(x, family), means(y, family)
    out["rho_family"] = rs.rho_of(mx, my, method)
    orders, exact = rs.orders(count, min(permutations, 9999), rng)
    least = np.abs(out["rho_family"]) - rs.TIE
    hits = sum((np.abs(v) >= least).sum(0) for _, v in rs.null(mx, my, orders, method))
    p = iv.p_value(hits, len(orders), exact)
    out["p_family"] = np.where(np.isnan(least), np.nan, p)
    out["lofo_low"], out["lofo_high"] = leave_one_out(x, y, family, method)
    units = effective(x, y, family)
    for low, high in (("low", "high"), ("run_low", "run_high")):
        if low in found:
            ends = found[low], found[high]
            out[low], out[high] = widen(*ends, found["rho"], len(x), units, method)
    return out


def effective(x, y, family):
    """Effective number of units (P, O), from the intraclass correlations of the ranks."""
    size = np.unique(family, return_counts=True)[1]
    shared = (size**2).sum() - len(family)
    trace = len(family) + np.outer(*(icc(rankdata(a, axis=0), family) for a in (x, y))) * shared
    return np.minimum(len(family), 1 + len(family) ** 2 / trace)


def icc(a, family):
    """Intraclass correlation by analysis of variance, in [0, 1]; (n, C) -> (C,)."""
    _, inside, size = np.unique(family, return_inverse=True, return_counts=True)
    n, f = len(family), len(size)
    if f == n:
        return np.zeros(a.shape[1])
    mean = means(a, family)
    between = (size[:, None] * (mean - a.mean(0)) ** 2).sum(0) / (f - 1)
    within = ((a - mean[inside]) ** 2).sum(0) / (n - f)
    typical = (n - (size**2).sum() / n) / (f - 1)
    with np.errstate(invalid="ignore"):
        return np.clip((between - within) / (between + (typical - 1) * within), 0, 1)


def widen(low, high, rho, n, effective_n, method):
    """Interval ends stretched on Fisher's z from n to the effective number of units."""
    z, edge = iv.fisher_z(rho, n, method), 1 - 1e-9
    factor = np.sqrt(max(n - 3, 0.5) / np.maximum(effective_n - 3, 0.5))
    ends = (np.arctanh(np.clip(v, -edge, edge)) for v in (low, high))
    low, high = (np.tanh(z + factor * (end - z)) for end in ends)
    return np.fmin(low, rho), np.fmax(high, rho)


def leave_one_out(x, y, family, method):
    """Lowest and highest correlation (P, O) without any one family; nan for over 200 families."""
    names = np.unique(family)
    left = [family != f for f in names if len(names) <= 200]
    rho = [rs.rho_of(x[k], y[k], method) for k in left if k.sum() >= rs.MIN_UNITS]
    rho.append(np.full((x.shape[1], y.shape[1]), np.nan))
    return np.fmin.reduce(rho), np.fmax.reduce(rho)


def critical(null_sizes, alpha):
    """(m, P, O) null \\|rho\\| -> smallest value that at most a share alpha reaches, or nan."""
    ranked, m = np.sort(null_sizes, 0), len(null_sizes)
    out = ranked[m - max(1, int(alpha * m))]
    rarer = np.where(ranked > out + rs.TIE, ranked, np.inf).min(0)
    out = np.where((null_sizes >= out - rs.TIE).mean(0) > alpha, rarer, out)
    return np.where(np.isfinite(out), out, np.nan)
