"""Share of small changes to the definitions that the tests notice: mutation testing.

    pip install cosmic-ray
    PYTHONPATH=lib nice python benchmarks/mutation.py [MODULE ...] [--n 60] [--seed 1]

Changes are Cosmic Ray's (an operator, a number, a comparison, a loop, ... replaced by another);
of each module a random sample. Left out are changes of annotations, docstrings and messages of
errors. Nothing is written: the module's tests, without those marked slow, are collected and run
once; then, for each change, a forked process puts it into the loaded module and runs them until
one fails. A process that crashes, or takes five times as long, counts as noticed. Prints what
survives, and Wilson's 95 % interval of the share.
"""

import argparse
import ast
import contextlib
import difflib
import functools
import importlib.util
import inspect
import os
import random
import resource
import sys
import time
import types
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
C = "tests/correlation/test_"
TESTS = {  # the quickest first
    "evaluation.metrics": "tests/evaluation/test_metrics.py",
    "evaluation.retrieval": "tests/evaluation/test_retrieval.py",
    "intermediate.predictors": "tests/intermediate/test_predictors.py",
    "correlation.correlate": f"{C}correlate.py {C}inference.py",
    "correlation.resampling": f"{C}inference.py {C}correlate.py",
    "correlation.null": f"{C}inference.py {C}correlate.py",
    "correlation.intervals": f"{C}inference.py {C}correlate.py",
    "correlation.families": f"{C}inference.py",
    "correlation.choice": f"{C}choice.py",
    "correlation.words": f"{C}words.py",
    "correlation.advice": f"{C}words.py {C}recommend.py {C}design.py",
    "correlation.tables": f"{C}tables.py",
    "correlation.arrays": f"{C}tables.py {C}within.py",
    "correlation.reliability": f"{C}reliability.py",
}


def meaning(source: str) -> str:
    """The code without what is no definition."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.arg | ast.AnnAssign):
            node.annotation = ast.Constant(0)
        elif isinstance(node, ast.FunctionDef):
            node.returns = None
        elif isinstance(node, ast.Raise):
            node.exc = None
    return ast.dump(tree)


def mutants(source: str, rng: random.Random):
    """(operator, changed source), in random order."""
    from cosmic_ray import plugins
    from cosmic_ray.ast import ast_nodes, get_ast
    from cosmic_ray.mutating import mutate_code

    nodes, places = list(ast_nodes(get_ast(source))), []
    for name in plugins.operator_names():
        if (kind := plugins.get_operator(name)).arguments():
            continue  # those that need to be told which variables
        count = sum(len(list(kind().mutation_positions(node))) for node in nodes)
        places += [(name, kind, i) for i in range(count)]
    rng.shuffle(places)
    before = meaning(source)
    for name, kind, i in places:
        changed = mutate_code(source, kind(), i)
        with contextlib.suppress(SyntaxError):
            if changed and meaning(changed) != before:
                yield name.rpartition("/")[2], changed


class Mutants:
    """A pytest plugin that runs the collected tests once, then again under each change."""

    def __init__(self, module: str, n: int, seed: int):
        self.name, self.n, self.seed, self.lived, self.took = module, n, seed, [], {}
        self.source = (ROOT / "lib/midway" / f"{module.replace('.', '/')}.py").read_text()

    def pytest_runtest_logreport(self, report):
        self.took[report.nodeid] = self.took.get(report.nodeid, 0) + report.duration

    def pytest_runtestloop(self, session):
        from _pytest.main import pytest_runtestloop as loop

        start = time.process_time()
        loop(session)
        limit = int(10 + 5 * (time.process_time() - start))
        session.items.sort(key=lambda i: (str(i.path), self.took[i.nodeid]))
        done = 0
        for operator, changed in mutants(self.source, random.Random(self.seed)):
            if not (child := os.fork()):
                with open(os.devnull, "w") as nowhere:
                    os.dup2(nowhere.fileno(), 1)
                    os.dup2(nowhere.fileno(), 2)
                resource.setrlimit(resource.RLIMIT_CPU, (limit, limit))
                resource.setrlimit(resource.RLIMIT_AS, (16 << 30, 16 << 30))
                put(changed, sys.modules[f"midway.{self.name}"])
                with contextlib.suppress(session.Failed):
                    loop(session)
                os._exit(session.testsfailed > 0)
            if not os.waitpid(child, 0)[1]:
                self.lived.append((operator, changed))
            done += 1
            if done == self.n:
                break
        self.n = done
        return True


def put(source: str, module) -> None:
    """Give the loaded module and all who hold its functions the definitions of ``source``."""
    new = types.ModuleType(module.__name__)
    new.__file__ = module.__file__
    exec(compile(source, module.__file__, "exec"), new.__dict__)
    ours = [m for n, m in sys.modules.items() if n.startswith(("midway", "test_", "toy", "synth"))]
    for name, value in vars(new).items():
        old = vars(module).get(name)
        if value is old or name.startswith("__"):
            continue  # imported, as SciPy's ufuncs, which name no module
        if getattr(value, "__module__", module.__name__) != new.__name__:
            continue
        if isinstance(value, type):
            pairs = [(vars(old)[k], v) for k, v in vars(value).items() if inspect.isfunction(v)]
        elif callable(value) and hasattr(old, "__wrapped__") == hasattr(value, "__wrapped__"):
            pairs = [(inspect.unwrap(old), inspect.unwrap(value))]
        else:  # a constant, or a function that has lost its decorator
            for holder in (m for m in ours if vars(m).get(name) is old):
                setattr(holder, name, value)
            continue
        for was, now in pairs:
            was.__code__ = now.__code__
            was.__defaults__, was.__kwdefaults__ = now.__defaults__, now.__kwdefaults__
    for thing in (v for m in ours for v in vars(m).values()):
        if isinstance(thing, functools._lru_cache_wrapper):
            thing.cache_clear()


def wilson(part: int, n: int) -> tuple[float, float]:
    z, p = 1.96, part / n
    middle, half = p + z * z / 2 / n, z * (p * (1 - p) / n + z * z / 4 / n / n) ** 0.5
    return (middle - half) / (1 + z * z / n), (middle + half) / (1 + z * z / n)


def measure(module: str, n: int, seed: int) -> tuple[int, int]:
    """Print the survivors of one module; how many were noticed, of how many."""
    import hypothesis
    import pytest

    phases = [hypothesis.Phase.explicit, hypothesis.Phase.generate]  # a failure is enough
    hypothesis.settings.register_profile(
        "quick", phases=phases, database=None, max_examples=30, derandomize=True
    )
    hypothesis.settings.load_profile("quick")
    plugin = Mutants(module, n, seed)
    options = ["-x", "-qq", "--tb=no", "-p", "no:cacheprovider", "-m", "not slow"]
    if pytest.main([*TESTS[module].split(), *options], plugins=[plugin]):
        sys.exit(f"{module}: its tests fail as it stands")
    noticed = plugin.n - len(plugin.lived)
    low, high = wilson(noticed, plugin.n)
    print(f"\n{module}: {noticed} of {plugin.n} noticed ({low:.0%} to {high:.0%})")
    for operator, changed in plugin.lived:
        lines = difflib.unified_diff(plugin.source.splitlines(), changed.splitlines(), n=0)
        print(f"  {operator}", *(f"    {x}" for x in list(lines)[2:]), sep="\n", flush=True)
    return noticed, plugin.n


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("modules", nargs="*", default=list(TESTS), metavar="MODULE")
    parser.add_argument("--n", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    if not importlib.util.find_spec("cosmic_ray"):
        sys.exit("mutation.py needs Cosmic Ray: .venv/bin/pip install cosmic-ray")
    os.chdir(ROOT)
    noticed = total = 0
    for module in asked.modules:
        read, write = os.pipe()
        if not os.fork():  # each module in a process that has loaded nothing yet
            os.write(write, b"%d %d" % measure(module, asked.n, asked.seed))
            sys.stdout.flush()
            os._exit(0)
        os.close(write)
        with open(read) as answer:
            part = answer.read().split() or sys.exit(1)
        os.wait()
        noticed, total = noticed + int(part[0]), total + int(part[1])
    low, high = wilson(noticed, total)
    print(f"all: {noticed} of {total} noticed, {noticed / total:.1%} ({low:.1%} to {high:.1%})")


if __name__ == "__main__":
    main()
