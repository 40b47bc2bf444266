"""The figures over all seeds as a table, as differences, and as a plot."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev

from scipy import stats

from teach.training_sets import KINDS

FIGURES = {"choice": "balanced multiple choice", "negated": "recall@5, negated queries", "plain": "recall@5, plain queries"}
COMPARED = (("negfull", "captions"), ("negmcq", "original"), ("negmcq", "earlier"))
"""Differences that the table shows below its rows."""
CHANCE = 25

Results = Mapping[str, Mapping[str, Sequence[float]]]
"""By kind and figure the values of all seeds."""


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Mean and half of its 95 % interval by Student's t; half is 0 for a single value."""
    if len(values) < 2:
        return values[0], 0.0
    return mean(values), float(stats.t.ppf(0.975, len(values) - 1)) * stdev(values) / math.sqrt(len(values))


def table(results: Results) -> str:
    """Markdown: a row for each kind, and one for each difference, which is taken seed by seed."""
    lines = ["| trained on | " + " | ".join(FIGURES.values()) + " |", "|---" * (len(FIGURES) + 1) + "|"]
    for kind, values in results.items():
        cells = ["{:.1f} ± {:.1f}".format(*interval(values[name])) for name in FIGURES]
        lines.append(f"| {KINDS[kind]} | {' | '.join(cells)} |")
    for one, other in COMPARED:
        if one in results and other in results:
            cells = ["{:+.1f} ± {:.1f}".format(*interval(_differences(results, one, other, name))) for name in FIGURES]
            lines.append(f"| {_letter(one)} less {_letter(other)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _differences(results: Results, one: str, other: str, figure: str) -> list[float]:
    return [a - b for a, b in zip(results[one][figure], results[other][figure], strict=True)]


def _letter(kind: str) -> str:
    return KINDS[kind].split()[0]


def plot(results: Results, file: Path) -> None:
    """Bars with intervals, one panel for each figure, as SVG."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams.update({"svg.hashsalt": "teach", "svg.fonttype": "none", "font.size": 9})
    from matplotlib import pyplot

    drawing, panels = pyplot.subplots(1, len(FIGURES), figsize=(9, 2.6), sharey=True, layout="constrained")
    places = range(len(results))
    for panel, (name, title) in zip(panels, FIGURES.items(), strict=True):
        means, halves = zip(*(interval(values[name]) for values in results.values()), strict=True)
        panel.barh(places, means, xerr=halves, color="#4c72b0", ecolor="#222222", capsize=2)
        panel.set_title(title + ", %", fontsize=9)
        panel.set_xlim(0, 100)
        if name == "choice":
            panel.axvline(CHANCE, color="#999999", linestyle=":")
    panels[0].set_yticks(places, [KINDS[kind] for kind in results])
    panels[0].invert_yaxis()
    drawing.savefig(file, metadata={"Date": None})
    pyplot.close(drawing)
