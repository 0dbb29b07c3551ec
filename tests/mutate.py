"""Deliberate faults in the rooms that security rests on, to see whether the tests notice: `python -m tests.mutate`.

A fault is one small change of one line (a comparison turned round, a call left out, a number one larger …). For each, the tests
that reach its line run in a copy of the project until the first one fails. A fault that none notices has survived, and is printed
as a change of the source: either a test is missing, or the change means the same.

    python -m tests.mutate --seed 1 --faults 200          two hundred faults, drawn at random
    python -m tests.mutate sessions/seal.py               all faults of one file
    python -m tests.mutate --written faults.json          faults that somebody has thought of: a list of objects with the
                                                          `file`, as in flask_entra/cookies.py, and the `old` and `new` text

The tests are run once before, to see what each reaches (`reached.py`); `--reached FOLDER` keeps that for the next time.
A script of ours, because mutmut finds out which tests reach a function by the calls in its own process, and these tests start the
app as another one; cosmic-ray runs any command, but draws no sample and tries one fault at a time.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import difflib
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.reached import BY_TEST, FOLDER, POSSIBLE, lines_of

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "flask_entra"
ROOMS = ("signin/", "sessions/", "http_client.py", "http_adapter.py", "bulkhead.py", "bearer.py", "cookies.py")
SECONDS = 300  # for the tests of one fault; longer means that they hang, which is noticed too
ENOUGH_SECONDS = 60  # of tests for one fault, the quickest of those that may notice it
NEVER = {  # to notice a fault of the app
    "tests/test_bench.py",
    "tests/test_evidence.py",
    "tests/test_pages.py",
    "tests/test_readme.py",
    "tests/test_sandbox.py",
    "tests/test_speed.py",
}

SWAPS: dict[type[ast.AST], type[ast.AST]] = {
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Lt: ast.GtE,
    ast.GtE: ast.Lt,
    ast.Gt: ast.LtE,
    ast.LtE: ast.Gt,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.And: ast.Or,
    ast.Or: ast.And,
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.BitOr: ast.BitAnd,
}


@dataclass(frozen=True)
class Drawn:
    """One change of one file: `kind` at the node number `node` of the file's tree."""

    path: Path
    node: int
    kind: str
    line: int

    def texts(self) -> tuple[str, str]:
        """The file without and with the fault."""
        before = ast.parse(self.path.read_text())
        tree = ast.parse(self.path.read_text())
        nodes = list(ast.walk(tree))
        parents = {child: parent for parent in nodes for child in ast.iter_child_nodes(parent)}
        _apply(nodes[self.node], parents, self.kind)
        return ast.unparse(before), ast.unparse(ast.fix_missing_locations(tree))


@dataclass(frozen=True)
class Written:
    """A change that somebody has thought of."""

    path: Path
    old: str
    new: str

    def texts(self) -> tuple[str, str]:
        """The file without and with the fault."""
        text = self.path.read_text()
        return text, text.replace(self.old, self.new)

    @property
    def line(self) -> int:
        """The first line that differs."""
        pairs = zip(*(text.splitlines() for text in self.texts()), strict=False)
        return next(number for number, (before, after) in enumerate(pairs, 1) if before != after)


Fault = Drawn | Written


def difference(fault: Fault) -> str:
    """The change, as a diff of the lines that differ."""
    before, after = (text.splitlines() for text in fault.texts())
    lines = difflib.unified_diff(before, after, n=0, lineterm="")
    return "\n".join(line for line in lines if line[:2] not in ("--", "++", "@@"))


def faults_of(path: Path) -> Iterator[Drawn]:
    """Every fault that can be put into a file."""
    nodes = list(ast.walk(ast.parse(path.read_text())))
    never_run = {part for node in nodes for type_ in _annotations(node) for part in ast.walk(type_)}
    for number, node in enumerate(nodes):
        if node not in never_run:
            for kind in _kinds(node):
                yield Drawn(path, number, kind, node.lineno)  # type: ignore[attr-defined]


def _annotations(node: ast.AST) -> list[ast.AST]:
    """The types that a node is annotated with."""
    types = [getattr(node, name, None) for name in ("annotation", "returns")]
    return [each for each in types if each is not None]


def _kinds(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.Compare(ops=[op]) if type(op) in SWAPS:
            yield "swap"
        case ast.BoolOp() | ast.BinOp() if type(node.op) in SWAPS:
            yield "swap"
        case ast.UnaryOp(op=ast.Not()):
            yield "no not"
        case ast.If() | ast.IfExp() | ast.While():
            yield "always"
            yield "never"
        case ast.Constant(value=bool()):
            yield "flip"
        case ast.Constant(value=int() | float()):
            yield "one more" if abs(node.value) < 10 else "a thousand times"
        case ast.Raise() | ast.Expr(value=ast.Call()) | ast.Delete() | ast.AugAssign():
            yield "left out"
        case ast.Return(value=ast.expr()) if not (isinstance(node.value, ast.Constant) and node.value.value is None):
            yield "nothing"
        case ast.Call(keywords=keywords):
            for index, keyword in enumerate(keywords):
                if keyword.arg:
                    yield f"without {index}"


def _apply(node: ast.AST, parents: dict[ast.AST, ast.AST], kind: str) -> None:
    match node:
        case ast.Compare():
            node.ops = [SWAPS[type(node.ops[0])]()]  # type: ignore[list-item]
        case ast.BoolOp() | ast.BinOp():
            node.op = SWAPS[type(node.op)]()  # type: ignore[assignment]
        case ast.UnaryOp():
            _replace(parents[node], node, node.operand)
        case ast.If() | ast.IfExp() | ast.While():
            node.test = ast.Constant(kind == "always")
        case ast.Constant(value=value):
            node.value = {"flip": not value, "one more": value + 1, "a thousand times": value * 1000}[kind]  # type: ignore[operator]
        case ast.Return():
            node.value = ast.Constant(None)
        case ast.Call():
            del node.keywords[int(kind.split()[1])]
        case _:
            _replace(parents[node], node, ast.Pass())


def _replace(parent: ast.AST, old: ast.AST, new: ast.AST) -> None:
    for name, value in ast.iter_fields(parent):
        if value is old:
            setattr(parent, name, new)
        elif isinstance(value, list) and old in value:
            value[value.index(old)] = new  # type: ignore[call-overload]


class Copies:
    """Copies of the project, one for each fault that is tried at the same time."""

    def __init__(self, folder: Path):
        self._folder, self._mine = folder, threading.local()

    def mine(self) -> Path:
        """This thread's own."""
        if not hasattr(self._mine, "root"):
            self._mine.root = self._folder / threading.current_thread().name
            listed = subprocess.run(
                ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
                cwd=ROOT,
                capture_output=True,
                text=True,
                check=True,
            )
            for name in filter(None, listed.stdout.split("\0")):
                if (ROOT / name).is_file():
                    (self._mine.root / name).parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy2(ROOT / name, self._mine.root / name)
        root: Path = self._mine.root
        return root


class Reached:
    """Which tests reach which lines.

    :param folder: where what an earlier run has found lies, or where it is to lie: then all tests are run now.
    """

    def __init__(self, folder: Path):
        if not any(folder.iterdir()):
            if not POSSIBLE:
                raise SystemExit("To see what the tests reach, Python 3.12 or newer is needed.")
            print("All tests are run once, to see what each reaches.", flush=True)
            watching = {**os.environ, FOLDER: str(folder), BY_TEST: "1"}
            command = [sys.executable, "-m", "pytest", "-q", *(f"--ignore={each}" for each in sorted(NEVER))]
            if subprocess.run(command, cwd=ROOT, env=watching).returncode:
                raise SystemExit("The tests do not pass without a fault.")
        self._lines, self._seconds = lines_of(folder)
        listed = subprocess.run(
            [sys.executable, "-m", "pytest", "--collect-only", "-q", "-n", "0"],
            cwd=ROOT,
            capture_output=True,
            text=True,
        )
        if stale := {*self._seconds} - {*listed.stdout.splitlines()}:
            raise SystemExit(f"{folder} is out of date, empty it: there is no {min(stale)}")
        self._noticed: dict[tuple[Path, str], int] = {}  # by the file of the app and that of the test

    def note(self, fault: Fault, outcome: str) -> None:
        """Tests of a file that has noticed a fault are likely to notice others of the same room."""
        of_test = fault.path, outcome.partition("::")[0].split()[-1]
        self._noticed[of_test] = self._noticed.get(of_test, 0) + 1

    def tests(self, fault: Fault) -> list[str]:
        """Those that may notice a fault: of the file's own tests, then of those that reach its line, its function and its
        file, the likeliest and quickest first. (What an app reaches that could not be forked is not known.)"""

        def last(test: str) -> tuple[int, float]:
            return -self._noticed.get((fault.path, test.partition("::")[0]), 0), self._seconds[test]

        lines, chosen = self._lines[fault.path.relative_to(PACKAGE).as_posix()], dict[str, None]()
        function, whole = _functions(fault.path, fault.line)
        own = {test for test in self._seconds if test.startswith(f"tests/test_{fault.path.stem}.py::")}
        reaching = (
            {test for line in scope for test in lines.get(line, ()) if test}
            for scope in ({fault.line} & function, function, whole)
        )
        left = ENOUGH_SECONDS
        for there in (own, *reaching):
            for test in sorted(there - {*chosen}, key=last):
                if left > 0:
                    left -= self._seconds[test]
                    chosen[test] = None
        return [*chosen]


def _functions(path: Path, line: int) -> tuple[set[int], set[int]]:
    """The lines of the innermost function around a line (none at the top of a file), and of all functions of the file."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    functions = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, kinds)]
    bodies = [set(range(node.body[0].lineno, (node.end_lineno or 0) + 1)) for node in functions]
    return min((body for body in bodies if line in body), key=len, default=set()), set().union(*bodies)


def noticed(fault: Fault, root: Path, tests: list[str]) -> str | None:
    """The first test that fails with a fault; None if all pass."""
    target = root / fault.path.relative_to(ROOT)
    target.write_text(fault.texts()[1])
    (root / "chosen.txt").write_text("\n".join(tests))
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-n", "0", "--no-header", "@chosen.txt"]
    command += ["-p", "no:cacheprovider", "-p", "no:randomly"]
    # With a session of their own, what the tests have started can be ended with them.
    process = subprocess.Popen(
        command,
        cwd=root,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )
    try:
        printed = process.communicate(timeout=SECONDS)[0]
    except subprocess.TimeoutExpired:
        return "the tests hang"
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, 9)
        process.wait()
        shutil.copy2(fault.path, target)
    if process.returncode == 0:
        return None
    if gone := re.search(r"^ERROR: not found: .*?(tests/\w+\.py::\w+)", printed, re.MULTILINE):
        # The parameters of a test are others with the fault.
        return noticed(fault, root, [test for test in tests if test.partition("[")[0] != gone[1]])
    failed = (line for line in printed.splitlines() if line.startswith(("FAILED", "ERROR")))
    return next(failed, f"exit {process.returncode}: {printed[-300:]}")


def main() -> int:
    """Try faults and print those that nobody has noticed."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutate", description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="*", help="only these, as in sessions/seal.py; all rooms otherwise")
    parser.add_argument("--written", type=Path, help="a file of faults to try, instead of drawing some")
    parser.add_argument("--seed", type=int, default=1, help="of the drawing (1)")
    parser.add_argument("--faults", type=int, help="how many to draw; all otherwise")
    parser.add_argument("--minutes", type=float, default=600, help="after which no further fault is begun")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="how many are tried at a time")
    parser.add_argument("--reached", type=Path, help="a folder for what the tests reach; measured if it is empty")
    parser.add_argument("--verbose", action="store_true", help="print also which test noticed a fault")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary, ThreadPoolExecutor(given.jobs) as pool:
        copies, tried = Copies(Path(temporary) / "copies"), list[str | None]()
        folder = given.reached or Path(temporary) / "reached"
        folder.mkdir(exist_ok=True)
        reached, until = Reached(folder), time.monotonic() + 60 * given.minutes

        def attempt(fault: Fault) -> None:
            if time.monotonic() < until:
                tests = reached.tests(fault)
                outcome = noticed(fault, copies.mine(), tests) if tests else None
                tried.append(outcome)
                name = f"{len(tried)}: {fault.path.relative_to(ROOT)}:{fault.line}"
                if outcome is None:
                    print(f"{name}: survived {len(tests)} tests\n{difference(fault)}", flush=True)
                else:
                    reached.note(fault, outcome)
                    if given.verbose:
                        print(f"{name}: {outcome}", flush=True)

        faults = written(given.written) if given.written else drawn(given.files or ROOMS, given.seed)[: given.faults]
        list(pool.map(attempt, faults))
    survived = sum(outcome is None for outcome in tried)
    print(f"{len(tried)} faults of {len(faults)} tried, {len(tried) - survived} noticed, {survived} survived")
    return 1 if survived else 0


def drawn(rooms: Iterable[str], seed: int) -> list[Fault]:
    """All faults that can be put into rooms, in an order that the seed decides."""
    paths = (
        path for path in sorted(PACKAGE.rglob("*.py")) if path.relative_to(PACKAGE).as_posix().startswith(tuple(rooms))
    )
    faults: list[Fault] = [fault for path in paths for fault in faults_of(path)]
    random.Random(seed).shuffle(faults)
    return faults


def written(path: Path) -> list[Fault]:
    """The faults of a file; one that does not fit the source is said so, and left out."""
    faults: list[Fault] = []
    for each in json.loads(path.read_text()):
        fault = Written(ROOT / each["file"], each["old"], each["new"])
        if (times := fault.path.read_text().count(fault.old)) == 1:
            faults.append(fault)
        else:
            print(f"left out: {fault.path.relative_to(ROOT)} has this {times} times, and not once:\n{fault.old}")
    return faults


if __name__ == "__main__":
    sys.exit(main())
