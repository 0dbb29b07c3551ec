"""What the documents name as their evidence is there, and each row of their tables names some or says why not."""

import ast
import re

import pytest
from conftest import ROOT

PAGES = sorted((ROOT / "docs").glob("evidence*.md"))
NAMED = sorted({named for page in PAGES for named in re.findall(r"(tests/test_\w+\.py)::(test_\w+)", page.read_text())})
# How the second cell of a row begins that needs no test; `docs/evidence.md` explains them.
REASONS = ("Entra's: ", "Not applicable: ", "Not done: ", "Documented: ")
# How many requirements each section of OWASP ASVS 5.0 has.
ASVS = {"3.1": 1, "3.2": 3, "3.3": 5, "3.4": 8, "3.5": 8, "3.6": 1, "3.7": 5}
ASVS |= {"6.1": 3, "6.2": 12, "6.3": 8, "6.4": 6, "6.5": 8, "6.6": 4, "6.7": 2, "6.8": 4}
ASVS |= {"7.1": 3, "7.2": 4, "7.3": 2, "7.4": 5, "7.5": 3, "7.6": 2}
ASVS |= {"8.1": 4, "8.2": 4, "8.3": 3, "8.4": 2}
ASVS |= {"10.1": 2, "10.2": 3, "10.3": 5, "10.4": 16, "10.5": 5, "10.6": 2, "10.7": 3}
ASVS |= {"13.1": 4, "13.2": 6, "13.3": 4, "13.4": 7}
ASVS |= {"16.1": 1, "16.2": 5, "16.3": 4, "16.4": 3, "16.5": 4}


def rows(page):
    """The cells of each row of the page's tables of evidence."""
    lines = [line for line in page.read_text().splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in lines]
    return [each for each in cells if each[-1] != "shown by"]


def test_the_list_of_evidence_is_not_empty():
    assert len(NAMED) > 100


@pytest.mark.parametrize("file", sorted({file for file, _ in NAMED}))
def test_each_test_that_is_named_as_evidence_exists(file):
    there = {node.name for node in ast.walk(ast.parse((ROOT / file).read_text())) if isinstance(node, ast.FunctionDef)}
    assert {name for other, name in NAMED if other == file} <= there


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_each_row_names_a_test_or_says_why_there_is_none(page):
    assert len(rows(page)) > 20
    for row in rows(page):
        assert len(row) == 3, row
        assert "tests/test_" in row[2] or row[1].startswith(REASONS), row


def test_each_requirement_of_asvs_has_a_row():
    numbers = []
    for item, *_ in rows(ROOT / "docs" / "evidence-asvs.md"):
        section, first, last = re.match(r"(\d+\.\d+)\.(\d+)(?:–\d+\.\d+\.(\d+))?: ", item).groups()
        numbers += [f"{section}.{number}" for number in range(int(first), int(last or first) + 1)]
    assert numbers == [f"{section}.{number}" for section, count in ASVS.items() for number in range(1, count + 1)]
