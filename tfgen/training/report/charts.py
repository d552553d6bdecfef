"""Charts as SVG with labels in HTML: the picture stretches with its column, the text does not."""

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

SIZE = 1000  # of the picture in its own units, on both sides
MAX_POINTS = 500  # of a curve
NUM_DOTTED = {"training": 4, "validation": 30}  # curves with fewer points show them
COLOURS = 8  # --run-0 ... in page.css


@dataclasses.dataclass(frozen=True)
class Series:
    """A curve of a chart.

    Attributes:
        label: what the read-out calls it.
        run: number of its run on the page.
        kind: "training" or "validation".
        steps: `[N]`, rising.
        values: `[N]`, finite.
        colour: of CSS; that of the run by default.
    """

    label: str
    run: int
    kind: str
    steps: Sequence[int]
    values: Sequence[float]
    colour: str = ""

    def __post_init__(self) -> None:
        if not self.colour:
            object.__setattr__(self, "colour", colour_of(self.run))


def colour_of(run: int) -> str:
    """Of CSS: eight that are told apart well, then ever new hues."""
    if run < COLOURS:
        return f"var(--run-{run})"
    return f"hsl({137.5 * run % 360:.0f} 60% 50%)"


def chart(title: str, unit: str, series: Sequence[Series], is_log: bool = False) -> str:
    """A figure of all the series on one pair of axes, and its numbers for the read-out.

    The vertical axis shows every value after the first twentieth of a curve's steps; what comes
    before may lie outside, and the figure then says so.

    Args:
        title: the quantity.
        unit: its unit; empty if it has none.
        series: at least one.
        is_log: a logarithmic vertical axis, if all values are positive.
    """
    series = [_thinned(one) for one in series]
    last = max(one.steps[-1] for one in series)
    values = [value for one in series for value in one.values]
    is_log = is_log and min(values) > 0
    low, high = _range(series, is_log)
    outside = [value for value in values if not low <= value <= high]
    ticks = _log_ticks(low, high) if is_log else _ticks(low, high)

    def x(step: float) -> float:
        return SIZE * step / max(last, 1)

    def y(value: float) -> float:
        if is_log:
            return SIZE * (1 - math.log(value / low) / math.log(high / low))
        return SIZE * (1 - (value - low) / (high - low))

    grid = "".join(f'<path class="grid" d="M0 {y(t):.1f}H{SIZE}"/>' for t in ticks)
    lines = "".join(_line(one, x, y) for one in series)
    down = _labels("top", {y(t) / SIZE: text for t, text in ticks.items()})
    steps = _ticks(0, max(last, 1), 4, smallest=1)
    across = _labels("left", {x(t) / SIZE: text for t, text in steps.items()})
    # The runs' colours stand at the head of the page.
    own = {one.colour: one.label for one in series if one.colour != colour_of(one.run)}
    key = "".join(
        f'<span><i class="swatch" style="background:{colour}"></i>{escape(label)}</span>'
        for colour, label in own.items()
    )
    key = f'<div class="key">{key}</div>' if key else ""
    note = ""
    if outside:
        extreme = max(outside, key=lambda v: abs(v - (low + high) / 2))
        note = f'<p class="note">Early values, up to {extreme:.4g}, lie beyond the axis.</p>'
    numbers = {
        "last": last,
        "series": [
            {
                "label": one.label if one.kind == "training" else f"{one.label}, {one.kind}",
                "run": one.run,
                "colour": one.colour,
                "steps": list(one.steps),
                "values": list(one.values),
            }
            for one in series
        ],
    }
    caption = escape(title) + (f' <span class="unit">{escape(unit)}</span>' if unit else "")
    caption += ' <span class="unit">log scale</span>' if is_log else ""
    return (
        f'<figure class="chart"><figcaption>{caption}</figcaption><div class="plot">'
        f'<div class="down" aria-hidden="true">{down}</div>'
        f'<div class="area"><svg viewBox="0 0 {SIZE} {SIZE}" preserveAspectRatio="none" role="img" '
        f'aria-label="{escape(title)} over the steps">{grid}{lines}</svg></div>'
        f'<div class="across" aria-hidden="true">{across}</div></div>'
        f'{key}<div class="readout" aria-live="polite"></div>{note}'
        f'<script type="application/json">{as_json(numbers)}</script></figure>'
    )


def bars(values: Sequence[float], run: int) -> str:
    """Non-negative values as bars from the largest to the smallest."""
    ordered = sorted(values, reverse=True)
    top = max(ordered[0], 1e-12)
    width = SIZE / len(ordered)
    gap = min(0.2 * width, 8)
    drawn = "".join(
        f"M{i * width + gap / 2:.1f} {SIZE}V{SIZE * (1 - max(value, 0) / top):.1f}"
        f"h{width - gap:.1f}V{SIZE}z"
        for i, value in enumerate(ordered)
    )
    ticks = {t: text for t, text in _ticks(0, top).items() if t <= top}
    down = _labels("top", {1 - t / top: text for t, text in ticks.items()})
    across = _labels("left", {0.0: "1", 1.0: str(len(ordered))})
    grid = "".join(f'<path class="grid" d="M0 {SIZE * (1 - t / top):.1f}H{SIZE}"/>' for t in ticks)
    return (
        f'<div class="plot"><div class="down" aria-hidden="true">{down}</div>'
        f'<div class="area"><svg viewBox="0 0 {SIZE} {SIZE}" preserveAspectRatio="none" role="img" '
        f'aria-label="{len(ordered)} values from {ordered[-1]:.4g} to {ordered[0]:.4g}">'
        f'{grid}<path d="{drawn}" style="fill:{colour_of(run)}"/></svg></div>'
        f'<div class="across" aria-hidden="true">{across}</div></div>'
    )


def intervals(rows: Sequence[tuple[str, int, float, float]]) -> str:
    """Values with their standard errors on one axis.

    Args:
        rows: (label, number of the run, value, standard error).
    """
    low = min(value - error for _, _, value, error in rows)
    high = max(value + error for _, _, value, error in rows)
    margin = 0.05 * (high - low) or 0.5
    low, high = low - margin, high + margin

    def at(value: float) -> str:
        return f"{share(value):.2%}"

    def share(value: float) -> float:
        return (value - low) / (high - low)

    ticks = _ticks(low, high, 4)
    lines = "".join(f'<i class="tick" style="left:{at(t)}"></i>' for t in ticks)
    drawn = "".join(
        f'<div class="label of-run-{run}">{escape(label)}</div>'
        f'<div class="track of-run-{run}">{lines}<i class="bar" style="left:{at(value - error)};'
        f'width:{2 * error / (high - low):.2%};background:{colour_of(run)}"></i>'
        f'<i class="dot" style="left:{at(value)};background:{colour_of(run)}"></i></div>'
        for label, run, value, error in rows
    )
    scale = _labels("left", {share(t): text for t, text in ticks.items()})
    return (
        f'<div class="intervals">{drawn}<div></div><div class="across" aria-hidden="true">{scale}'
        "</div></div>"
    )


def _labels(side: str, texts: Mapping[float, str]) -> str:
    """Texts at their places, as shares of the axis from `side`; those at an end stay inside."""
    drawn = ""
    for place, text in texts.items():
        ends = {"start": place < 0.01, "end": place > 0.99}
        name = next((end for end, is_there in ends.items() if is_there), "")
        drawn += f'<span class="{name}" style="{side}:{place:.2%}">{text}</span>'
    return drawn


def as_json(value: Any) -> str:
    """JSON that can stand inside a script element."""
    return json.dumps(value, separators=(",", ":")).replace("<", "\\u003c")


def _thinned(series: Series) -> Series:
    """With at most `MAX_POINTS` of its points, evenly chosen, the last among them."""
    num = len(series.steps)
    if num <= MAX_POINTS:
        return series
    kept = [round(i * (num - 1) / (MAX_POINTS - 1)) for i in range(MAX_POINTS)]
    return dataclasses.replace(
        series, steps=[series.steps[i] for i in kept], values=[series.values[i] for i in kept]
    )


def _range(series: Sequence[Series], is_log: bool) -> tuple[float, float]:
    late = [
        value
        for one in series
        for step, value in zip(one.steps, one.values, strict=True)
        if step > one.steps[-1] / 20
    ]
    low, high = min(late), max(late)
    if is_log:
        margin = (high / low) ** 0.06 if high > low else 2.0
        return low / margin, high * margin
    margin = 0.06 * (high - low) or 0.05 * abs(high) or 0.5
    return low - margin, high + margin


def _line(series: Series, x: Any, y: Any) -> str:
    limit = 3 * SIZE  # far outside the picture is far enough
    points = [
        (x(step), min(max(y(value), -limit), limit))
        for step, value in zip(series.steps, series.values, strict=True)
    ]
    path = "M" + "L".join(f"{a:.1f} {b:.1f}" for a, b in points)
    group = f'<g class="of-run-{series.run} {series.kind}" style="stroke:{series.colour}">'
    dots = ""
    if len(points) < NUM_DOTTED[series.kind]:
        dots = "".join(f"M{a:.1f} {b:.1f}h0" for a, b in points)
        dots = f'<path class="dots" d="{dots}"/>'
    return f'{group}<path class="line" d="{path}"/>{dots}</g>'


def _ticks(low: float, high: float, num: int = 5, smallest: float = 0.0) -> dict[float, str]:
    """About `num` round numbers between the two, multiples of `smallest`, and how they read."""
    rough = max((high - low) / num, smallest)
    exponent = math.floor(math.log10(rough))
    step = next(f * 10.0**exponent for f in (1, 2, 5, 10) if f * 10.0**exponent >= 0.999 * rough)
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    ticks = [step * i for i in range(first, last + 1)]
    return {t: f"{t:,.{decimals}f}" if abs(t) < 1e7 else f"{t:g}" for t in ticks}


def _log_ticks(low: float, high: float) -> dict[float, str]:
    """Powers of ten between the two; where they are few, their doubles and halves as well."""
    exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for factors in ((1,), (1, 2, 5)):
        ticks = [f * 10.0**e for e in exponents for f in factors if low <= f * 10.0**e <= high]
        if len(ticks) >= 3:
            return {t: f"{t:g}" for t in ticks}
    return _ticks(low, high, 4)
