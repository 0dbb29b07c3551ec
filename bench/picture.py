"""The picture for docs/bench.md: an SVG that follows the reader's light or dark mode."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

from bench.table import APP, BARE, QUICKSTART, Row, number

WIDTH, LABEL, RIGHT, BAR, GAP = 760, 250, 70, 15, 4
GROUP = 2 * BAR + 3 * GAP + 12
TOP, BOTTOM = 76, 30

# Contrast of text 7:1 and of bars 3:1 and more, on GitHub's white and on its near-black.
STYLE = """\
text { font: 13px system-ui, -apple-system, "Segoe UI", sans-serif; fill: #1f2328 }
.title { font-size: 16px; font-weight: 600 }
.quiet { fill: #59636e; font-size: 12px }
.on { fill: #fff; font-size: 12px }
.app { fill: #0969da }
.quickstart { fill: #6e7781 }
.line { stroke: #1f2328; stroke-dasharray: 4 3 }
@media (prefers-color-scheme: dark) {
text { fill: #f0f6fc }
.quiet { fill: #9198a1 }
.on { fill: #0d1117 }
.app { fill: #4493f8 }
.quickstart { fill: #848d97 }
.line { stroke: #f0f6fc }
}"""


@dataclass(frozen=True)
class Bars:
    """How many times bare Flask's speed each of the two reaches in one row, and the app the quickstart's way's."""

    what: str
    app: float
    quickstart: float
    times: float


def draw(rows: list[Row]) -> str:
    """An SVG of the rows that all three contestants have.

    :param rows: any; those with requests/s or ms, in which bare Flask takes part, are drawn.
    :return: the document.
    """
    groups = [
        _bars(row) for row in rows if row.unit in ("requests/s", "ms") and {APP, QUICKSTART, BARE} <= set(row.values)
    ]
    groups = [group for group in groups if group]
    greatest = max([1.0, *(max(group.app, group.quickstart) for group in groups)])
    scale = (WIDTH - LABEL - RIGHT) / greatest
    height = TOP + len(groups) * GROUP + BOTTOM
    one = LABEL + scale
    summary = "; ".join(
        f"{group.what}: this app {group.app:.2f}, the quickstart's way {group.quickstart:.2f}" for group in groups
    )
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        'role="img" aria-labelledby="title summary">',
        '<title id="title">Speed against bare Flask: this app and the quickstart\'s way</title>',
        f'<desc id="summary">Bare Flask is 1. {escape(summary)}.</desc>',
        f"<style>\n{STYLE}\n</style>",
        '<text class="title" x="0" y="20">Speed, as a share of bare Flask’s (longer is faster)</text>',
        '<rect class="app" x="0" y="36" width="12" height="12"/><text x="18" y="47">this app</text>',
        '<rect class="quickstart" x="100" y="36" width="12" height="12"/><text x="118" y="47">the quickstart’s way</text>',
        f'<text class="quiet" x="{WIDTH}" y="47" text-anchor="end">against the quickstart’s way</text>',
        f'<path class="line" d="M{one:.1f} {TOP - 8}V{height - BOTTOM + 4}"/>',
        f'<text class="quiet" x="{one:.1f}" y="{height - 8}" text-anchor="middle">bare Flask</text>',
    ]
    for number_, group in enumerate(groups):
        parts += _group(group, TOP + number_ * GROUP, scale)
    return "\n".join([*parts, "</svg>"]) + "\n"


def _bars(row: Row) -> Bars | None:
    """Speeds: of a time, the reciprocal. A percentile of a few answers says little, so the p99 is left to the table."""
    if "p99" in row.what:
        return None
    ratios = (row.ratio(BARE), row.ratio(BARE, QUICKSTART), row.ratio(QUICKSTART))
    return Bars(row.what, *(1 / ratio.median if row.unit == "ms" else ratio.median for ratio in ratios))


def _group(group: Bars, y: float, scale: float) -> list[str]:
    what, _, more = group.what.partition(", ")
    parts = [f'<text x="0" y="{y + 12}">{escape(what)}</text>']
    if more:
        parts.append(f'<text class="quiet" x="0" y="{y + 28}">{escape(more)}</text>')
    for kind, value in (("app", group.app), ("quickstart", group.quickstart)):
        width = max(value * scale, 1)
        parts.append(f'<rect class="{kind}" x="{LABEL}" y="{y}" width="{width:.1f}" height="{BAR}" rx="2"/>')
        # In the bar where there is room, so that it never meets the line.
        place = f'class="on" x="{LABEL + width - 6:.1f}" text-anchor="end"'
        if width < 40:
            place = f'class="quiet" x="{LABEL + width + 6:.1f}"'
        parts.append(f'<text {place} y="{y + 11.5}">{value:.2f}</text>')
        y += BAR + GAP
    parts.append(f'<text x="{WIDTH}" y="{y - 20}" text-anchor="end">{number(group.times)} ×</text>')
    return parts
