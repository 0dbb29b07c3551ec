"""What was measured, against what was wanted."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field

APP, QUICKSTART, BARE = "this app", "the quickstart's way", "bare Flask"
CONTESTANTS = (APP, QUICKSTART, BARE)


@dataclass(frozen=True)
class Ratio:
    """The median over the rounds, and the least and the greatest."""

    median: float
    low: float
    high: float


@dataclass(frozen=True)
class Goal:
    """What the app is to reach.

    :ivar target: the figure.
    :ivar most: it is a limit and not a minimum.
    :ivar against: of what it is a multiple; None: it stands for itself.
    """

    target: float
    most: bool = False
    against: str | None = None


@dataclass
class Row:
    """One thing measured: for everybody a value a round."""

    name: str
    what: str
    unit: str
    values: dict[str, list[float]]
    goals: list[Goal] = field(default_factory=list)

    def median(self, who: str) -> float:
        return statistics.median(self.values[who])

    def ratio(self, against: str | None = None, who: str = APP) -> Ratio:
        """Somebody's value by another's of the same round, so that what slows a whole round down cancels out."""
        values = self.values[who]
        if against is not None:
            values = [mine / theirs for mine, theirs in zip(values, self.values[against], strict=True)]
        return Ratio(statistics.median(values), min(values), max(values))

    def reached(self, goal: Goal) -> bool:
        ratio = self.ratio(goal.against).median
        return ratio <= goal.target if goal.most else ratio >= goal.target

    def as_json(self) -> dict:
        return {
            "name": self.name,
            "what": self.what,
            "unit": self.unit,
            "rounds": self.values,
            "medians": {who: self.median(who) for who in self.values},
            "goals": [
                {
                    "against": goal.against,
                    "at_most" if goal.most else "at_least": goal.target,
                    "measured": vars(self.ratio(goal.against)),
                    "reached": self.reached(goal),
                }
                for goal in self.goals
            ],
        }


def number(value: float) -> str:
    """Three digits that mean something."""
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.3g}"


def render(rows: list[Row]) -> str:
    """The table: a line for each goal of each row."""
    heads = ("what", *CONTESTANTS, "measured", "spread", "to reach", "")
    lines = [heads]
    for row in rows:
        cells = [f"{row.what}, {row.unit}" if row.unit else row.what]
        cells += [number(row.median(who)) if who in row.values else "–" for who in CONTESTANTS]
        for goal in row.goals or [None]:
            lines.append((*cells, *(_goal_cells(row, goal) if goal else ("", "", "", ""))))
            cells = [""] * len(cells)
    widths = [max(len(line[i]) for line in lines) for i in range(len(heads))]
    text = [" | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    return "\n".join([text[0], "-|-".join("-" * width for width in widths), *text[1:]])


def _goal_cells(row: Row, goal: Goal) -> tuple[str, str, str, str]:
    ratio = row.ratio(goal.against)
    against = f" × {goal.against}" if goal.against else f" {row.unit}"
    digits = number if not goal.against else "{:.2f}".format
    return (
        f"{digits(ratio.median)}{against}",
        f"{digits(ratio.low)} – {digits(ratio.high)}",
        f"{'≤' if goal.most else '≥'} {digits(goal.target)}",
        "✓" if row.reached(goal) else "✗",
    )
