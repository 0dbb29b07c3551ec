"""What the documents name as their evidence is there."""

import ast
import re

import pytest
from conftest import ROOT

NAMED = sorted(set(re.findall(r"(tests/test_\w+\.py)::(test_\w+)", (ROOT / "docs" / "evidence.md").read_text())))


def test_the_list_of_evidence_is_not_empty():
    assert len(NAMED) > 30


@pytest.mark.parametrize("file", sorted({file for file, _ in NAMED}))
def test_each_test_that_is_named_as_evidence_exists(file):
    there = {node.name for node in ast.walk(ast.parse((ROOT / file).read_text())) if isinstance(node, ast.FunctionDef)}
    assert {name for other, name in NAMED if other == file} <= there
