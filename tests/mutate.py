"""Deliberate faults in the rooms that security rests on, to see whether the tests notice: `python -m tests.mutate`.

A fault is one small change of one line (a comparison turned round, a call left out, a number one larger …). For each, the tests
of its room run in a copy of the project until the first one fails. A fault that none notices has survived, and is printed as a
change of the source: either a test is missing, or the change means the same.

    python -m tests.mutate --seed 1 --faults 200          two hundred faults, drawn at random
    python -m tests.mutate sessions/seal.py               all faults of one file

A script of ours, because mutmut finds out which tests reach a function by the calls in its own process, and these tests start the
app as another one; cosmic-ray runs any command, but draws no sample and tries one fault at a time.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "flask_entra"
# What notices a fault in which files, the likeliest and quickest tests first. A file has the tests of each line that it is in.
ROOMS = {
    "signin/auth.py": [
        "test_sign_in_view.py",
        "test_conformance.py",
        "test_roles.py",
        "test_own_app.py",
        "test_sign_out.py",
    ],
    "signin/authorization.py": ["test_authorization.py", "test_roles.py", "test_account.py"],
    "signin/guards.py": ["test_guards.py"],
    "signin/sign_out.py": ["test_sign_out.py"],
    "signin/invitation.py": ["test_sign_in_view.py", "test_callers.py"],
    "signin/answers.py": ["test_headers.py", "test_deploy.py"],
    "signin/id_token.py": ["test_id_token.py"],
    "signin/client.py": ["test_conformance.py", "test_doctor.py", "test_doctor_asks.py"],
    "signin/document.py": ["test_document.py", "test_tenant.py"],
    "signin/issuer.py": ["test_issuer.py"],
    "signin/provider.py": ["test_issuer.py", "test_conformance.py", "test_other_provider.py"],
    "signin/pending.py": ["test_headers.py", "test_sign_in_view.py", "test_signin.py", "test_attacks.py"],
    "signin/paths.py": ["test_sign_in_view.py", "test_signin.py"],
    "signin/": [
        "test_id_token.py",
        "test_issuer.py",
        "test_headers.py",
        "test_conformance.py",
        "test_sign_in_view.py",
        "test_callers.py",
        "test_own_app.py",
        "test_signin.py",
        "test_tenant.py",
        "test_attacks.py",
        "test_graph.py",
        "test_app.py",
        "test_sign_out.py",
        "test_roles.py",
        "test_problems.py",
        "test_other_provider.py",
    ],
    "sessions/redis": ["test_redis.py", "test_sessions.py"],
    "sessions/seal.py": ["test_seal.py"],
    "sessions/": [
        "test_seal.py",
        "test_session_state.py",
        "test_stores.py",
        "test_headers.py",
        "test_sessions.py",
        "test_own_app.py",
        "test_attacks.py",
        "test_doctor_asks.py",
    ],
    "http_client.py": ["test_http_client.py", "test_headers.py", "test_graph.py", "test_tenant.py", "test_attacks.py"],
    "bulkhead.py": ["test_bulkhead.py"],
    "bearer.py": ["test_bearer.py", "test_callers.py", "test_graph.py", "test_own_app.py", "test_attacks.py"],
    "cookies.py": ["test_headers.py", "test_app.py", "test_signin.py", "test_deploy.py"],
}
SECONDS = 240  # for the tests of one fault; longer means that they hang, which is noticed too

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
class Fault:
    """One change of one file: `kind` at the node number `node` of the file's tree."""

    path: Path
    node: int
    kind: str

    def source(self) -> str:
        """The file with the fault."""
        tree = ast.parse(self.path.read_text())
        nodes = list(ast.walk(tree))
        parents = {child: parent for parent in nodes for child in ast.iter_child_nodes(parent)}
        _apply(nodes[self.node], parents, self.kind)
        return ast.unparse(ast.fix_missing_locations(tree))

    def difference(self) -> str:
        """The change, as a diff of the lines that differ."""
        before = ast.unparse(ast.parse(self.path.read_text())).splitlines()
        lines = difflib.unified_diff(before, self.source().splitlines(), n=0, lineterm="")
        return "\n".join(line for line in lines if line[:2] not in ("--", "++", "@@"))


def faults_of(path: Path) -> Iterator[Fault]:
    """Every fault that can be put into a file."""
    nodes = list(ast.walk(ast.parse(path.read_text())))
    never_run = {part for node in nodes for type_ in _annotations(node) for part in ast.walk(type_)}
    for number, node in enumerate(nodes):
        if node not in never_run:
            for kind in _kinds(node):
                yield Fault(path, number, kind)


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


def noticed(fault: Fault, root: Path) -> str | None:
    """The first test that fails with a fault; None if all pass."""
    name = fault.path.relative_to(PACKAGE).as_posix()
    tests = dict.fromkeys(f"tests/{each}" for room in ROOMS if name.startswith(room) for each in ROOMS[room])
    target = root / fault.path.relative_to(ROOT)
    target.write_text(fault.source())
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-n", "0", "--no-header"]
    command += ["-p", "no:cacheprovider", "-p", "no:randomly", *tests]
    try:
        done = subprocess.run(
            command,
            cwd=root,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        )
    except subprocess.TimeoutExpired:
        return "the tests hang"
    finally:
        shutil.copy2(fault.path, target)
    if done.returncode == 0:
        return None
    return next(
        (line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))), f"exit {done.returncode}"
    )


def main() -> int:
    """Try faults and print those that nobody has noticed."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutate", description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="*", help="only these, as in sessions/seal.py; all rooms otherwise")
    parser.add_argument("--seed", type=int, default=1, help="of the drawing (1)")
    parser.add_argument("--faults", type=int, help="how many to draw; all otherwise")
    parser.add_argument("--minutes", type=float, default=600, help="after which no further fault is begun")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="how many are tried at a time")
    given = parser.parse_args()
    paths = sorted(
        path
        for path in PACKAGE.rglob("*.py")
        if path.relative_to(PACKAGE).as_posix().startswith(tuple(given.files or ROOMS))
    )
    faults = [fault for path in paths for fault in faults_of(path)]
    random.Random(given.seed).shuffle(faults)
    faults, until = faults[: given.faults], time.monotonic() + 60 * given.minutes
    tried: list[tuple[Fault, str | None]] = []
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(given.jobs) as pool:
        copies = Copies(Path(folder))

        def attempt(fault: Fault) -> None:
            if time.monotonic() < until:
                outcome = noticed(fault, copies.mine())
                tried.append((fault, outcome))
                if outcome is None:
                    print(f"{len(tried)}: survived: {fault.path.relative_to(ROOT)}\n{fault.difference()}", flush=True)

        list(pool.map(attempt, faults))
    survived = sum(outcome is None for _fault, outcome in tried)
    print(
        f"{len(tried)} faults of {len(faults)} tried, {len(tried) - survived} noticed, {survived} survived (seed {given.seed})"
    )
    return 1 if survived else 0


if __name__ == "__main__":
    sys.exit(main())
