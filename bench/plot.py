"""Draws what `compare.py` wrote: each goal's ratio to the peer, with its least and its aim.

    python bench/plot.py RESULTS.json [PICTURE.svg]

A hand-written SVG on a transparent ground, in colours that read on light and on dark.
"""

import argparse
import json
import math
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Any

WIDTH = 860
ROW = 46
LEFT = 310
RIGHT = 120
TOP = 74
BOTTOM = 60
LOWEST, HIGHEST = 0.1, 10.0
INK = "#808890"
COLOURS = {"aim": "#2e9e62", "met": "#3b82c4", "missed": "#d9822b"}


def place(ratio: float) -> float:
    """Where a ratio stands, on a logarithmic scale: twice as good and half as good are equally far from even."""
    held = min(max(ratio, LOWEST), HIGHEST)
    return LEFT + (WIDTH - LEFT - RIGHT) * math.log(held / LOWEST) / math.log(HIGHEST / LOWEST)


def better(row: dict[str, Any], ratio: float) -> float:
    """A ratio of which more is better."""
    return 1 / ratio if row["lower_is_better"] and ratio else ratio


def amount(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:,.1f}"


def text(x: float, y: float, words: str, *, size: int = 13, anchor: str = "start", weight: str = "normal") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" font-weight="{weight}" '
        f'fill="{INK}">{escape(words)}</text>'
    )


def bar(row: dict[str, Any], top: float) -> Iterator[str]:
    """One goal: what it is, a bar from even to the ratio reached, marks where the goals are."""
    spans = row["figures"]
    ratio = better(row, row["ratio"])
    start, end = sorted((place(1), place(ratio)))
    middle = top + ROW / 2
    yield text(LEFT - 14, middle - 3, row["title"], anchor="end")
    ours, theirs = amount(spans["imgateway"]["median"]), amount(spans["peer"]["median"])
    yield text(LEFT - 14, middle + 13, f"{ours} against {theirs}", size=11, anchor="end")
    yield (
        f'<rect x="{start:.1f}" y="{middle - 9:.1f}" width="{max(end - start, 1):.1f}" height="18" rx="2" '
        f'fill="{COLOURS[row["verdict"]]}"/>'
    )
    for goal, dashes in ((row["least"], "3 2"), (row["aim"], "")):
        x = place(better(row, goal))
        yield (
            f'<line x1="{x:.1f}" y1="{middle - 15:.1f}" x2="{x:.1f}" y2="{middle + 15:.1f}" stroke="{INK}" '
            f'stroke-width="2" stroke-dasharray="{dashes}"/>'
        )
    yield text(WIDTH - RIGHT + 14, middle + 5, f"× {ratio:.2f}", size=15, weight="bold")


def picture(results: dict[str, Any]) -> str:
    """The whole SVG."""
    rows = [row for row in results["goals"] if "ratio" in row]
    bottom = TOP + ROW * len(rows)
    height = bottom + BOTTOM
    machine = results["machine"]
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        'font-family="system-ui, sans-serif" role="img">',
        "<title>imgateway against the peer</title>",
        text(16, 26, "imgateway against Centrifugo, one core each: how many times as good", size=17, weight="bold"),
        text(16, 46, "median of the rounds; dashed: least asked for, solid: aim; logarithmic scale", size=12),
    ]
    for ratio in (0.1, 0.2, 0.5, 1, 2, 5, 10):
        x = place(ratio)
        thick = 1.5 if ratio == 1 else 0.5
        parts.append(
            f'<line x1="{x:.1f}" y1="{TOP}" x2="{x:.1f}" y2="{bottom}" stroke="{INK}" stroke-width="{thick}"/>'
        )
        parts.append(text(x, TOP - 6, f"{ratio:g}", size=11, anchor="middle"))
    for number, row in enumerate(rows):
        parts += bar(row, TOP + ROW * number)
    parts.append(
        text(16, bottom + 24, f"{machine['cpu']}, {machine['cores']} cores, Linux {machine['kernel']}", size=11)
    )
    parts.append(
        text(16, bottom + 40, f"Python {machine['python']}; {machine.get('peer', '')}; {machine['date']}", size=11)
    )
    return "\n".join([*parts, "</svg>"]) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path)
    parser.add_argument("picture", type=Path, nargs="?", help="default: next to the results")
    arguments = parser.parse_args()
    target = arguments.picture or arguments.results.with_suffix(".svg")
    target.write_text(picture(json.loads(arguments.results.read_text())))
    print(target)


if __name__ == "__main__":
    main()
