"""Charts in SVG: bars and lines, with nothing but text and rectangles."""

import html
import math

COLOURS = ["#2a6fb0", "#c0662b", "#7a8290"]
FONT = 'font-family="Helvetica, Arial, sans-serif"'


def _text(x, y, text, anchor="start", size=13, colour="#222"):
    text = html.escape(str(text))
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" fill="{colour}" {FONT}>{text}</text>'


def _save(path, width, height, parts):
    head = (f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
            f'viewBox="0 0 {width} {height}">')
    # A ground of its own, so that it can be read on a dark page too.
    ground = f'<rect width="{width}" height="{height}" fill="#fff"/>'
    path.parent.mkdir(exist_ok=True)
    path.write_text("\n".join([head, ground, *parts, "</svg>"]) + "\n")


def _colour(name):
    """Ours, the rivals', and what is neither."""
    if "hand-written" in name:
        return COLOURS[1]
    return COLOURS[0] if "layer" in name else COLOURS[2]


def bars(path, title, values, digits=0):
    """One bar for each name and value, from top to bottom."""
    left, right, step, width = 250, 70, 30, 760
    top = 48
    most = max(value for _, value in values) or 1
    parts = [_text(16, 26, title, size=15)]
    for at, (name, value) in enumerate(values):
        y = top + at * step
        length = max(value, 0) / most * (width - left - right)
        parts.append(_text(left - 10, y + 15, name, anchor="end"))
        parts.append(f'<rect x="{left}" y="{y}" width="{length:.1f}" height="20" fill="{_colour(name)}"/>')
        parts.append(_text(left + length + 8, y + 15, f"{value:.{digits}f}"))
    _save(path, width, top + len(values) * step + 12, parts)


def lines(path, title, series):
    """One line for each name and its points; both axes are logarithmic."""
    width, height, left, right, top, bottom = 760, 380, 70, 40, 80, 50
    points = [point for values in series.values() for point in values]
    low_x, high_x = (math.log10(pick(x for x, _ in points)) for pick in (min, max))
    low_y = math.floor(math.log10(max(min(y for _, y in points), 1)))
    high_y = math.ceil(math.log10(max(max(y for _, y in points), 10)))

    def across(x):
        return left + (math.log10(x) - low_x) / ((high_x - low_x) or 1) * (width - left - right)

    def up(y):
        part = (math.log10(max(y, 1)) - low_y) / ((high_y - low_y) or 1)
        return height - bottom - part * (height - top - bottom)

    parts = [_text(16, 26, title, size=15)]
    for power in range(low_y, high_y + 1):
        y = up(10**power)
        parts.append(f'<line x1="{left}" y1="{y:.1f}" x2="{width - right}" y2="{y:.1f}" stroke="#ddd"/>')
        parts.append(_text(left - 8, y + 4, f"{10**power:,}", anchor="end"))
    for x in sorted({x for x, _ in points}):
        parts.append(_text(across(x), height - bottom + 22, f"{x:,}", anchor="middle"))
    for (name, values), colour in zip(series.items(), COLOURS):
        places = [(across(x), up(y), y) for x, y in values]
        path_of = " ".join(f"{x:.1f},{y:.1f}" for x, y, _ in places)
        parts.append(f'<polyline points="{path_of}" fill="none" stroke="{colour}" stroke-width="2"/>')
        for x, y, value in places:
            parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}"/>')
            parts.append(_text(x, y - 10, f"{value:.0f}", anchor="middle", size=12))
    for at, (name, colour) in enumerate(zip(series, COLOURS)):
        x = left + at * 260
        parts.append(f'<rect x="{x}" y="42" width="14" height="14" fill="{colour}"/>')
        parts.append(_text(x + 20, 54, name))
    _save(path, width, height, parts)
