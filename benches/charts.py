"""Makes the charts and the tables of `benches/README.md` from what the report printed.

    cargo bench --bench report --features full | tee report.txt
    benches/profile.sh | tee profile.txt
    python3 benches/charts.py report.txt profile.txt

Any number of files; what is in none of them is left as it is. The tables go between the README's markers, the
charts to `benches/charts/`.
"""

import re
import sys
from pathlib import Path

import svg

FOLDER = Path(__file__).resolve().parent
GOAL = re.compile(r"(\w+)  (\S+)  goal (.+?)  (met|short) +\[(.+)\]")


def sections(lines):
    """Each goal's lines with those of its details, in order: its name, and the lines."""
    found = []
    for line in lines:
        if match := GOAL.match(line):
            if not found or found[-1][0] != match[1]:
                found.append((match[1], []))
            found[-1][1].append(line)
        elif line == "growth":
            found.append(("growth", []))
        elif line.startswith("    ") and found:
            found[-1][1].append(line)
        elif line and not line.startswith("    "):
            # A head of the profile's, or of something else.
            found.append((line, [line]))
    return found


def table(head, rows):
    """A table of Markdown, numbers to the right."""
    bars = ["---" if at == 0 else "---:" for at in range(len(head))]
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, bars, *rows])


def goals(lines):
    rows = [list(match.groups()) for line in lines if (match := GOAL.match(line))]
    rows = [[name, value, bound, verdict, interval] for name, value, bound, verdict, interval in rows]
    return rows and table(["", "value", "goal", "", "interval"], rows)


def hit(details):
    found = [re.fullmatch(r"    (.+?) +(-?[\d.]+) ns", line) for line in details]
    costs = [(match[1], float(match[2])) for match in found if match]
    if not costs:
        return None
    bars = [(name.replace(" adds", "").replace(" add", ""), value) for name, value in costs]
    svg.bars(FOLDER / "charts/hit.svg", "What a hit costs, nanoseconds beyond the bare service", bars[1:])
    return table(["a hit", "ns"], [[name, f"{value:.0f}"] for name, value in costs])


def scaling(details):
    pattern = r"    (.+?) +x ([\d.]+) of +([\d.]+) M requests a second by one thread, +([\d.]+) M by two"
    rows = [match.groups() for line in details if (match := re.match(pattern, line))]
    if not rows:
        return None
    svg.bars(
        FOLDER / "charts/scaling.svg",
        "Requests a second by two threads on one key, of those by one",
        [(name, float(factor)) for name, factor, _, _ in rows],
        digits=2,
    )
    head = ["one key", "two threads, of one", "by one, M/s", "by two, M/s"]
    return table(head, [list(row) for row in rows])


def loopback(details):
    pattern = r"    (with.*?) +([\d.]+) us of .*?, +(\d+) requests a second"
    rows = [list(match.groups()) for line in details if (match := re.match(pattern, line))]
    return rows and table(["axum, 32 connections", "server's CPU, us a request", "requests a second"], rows)


def growth(details):
    rows = [line.split() for line in details if re.fullmatch(r"    ( *[\d.-]+){9}", line)]
    if not rows:
        return None
    points = [(int(row[0]), float(row[1]), float(row[2])) for row in rows]
    svg.lines(
        FOLDER / "charts/growth.svg",
        "What the layer adds, nanoseconds, by the number of cached keys",
        {"one key again and again": [(keys, hot) for keys, hot, _ in points],
         "a key at random": [(keys, uniform) for keys, _, uniform in points]},
    )
    head = ["keys cached", "hit of one key, ns", "hit of any, ns", "bytes a key", "MiB in all",
            "revocation, ns", "known key behind one, ns", "flush, ns", "read again, ns"]
    return table(head, rows)


def throughput(details):
    pattern = r"    (.+?) +([\d.]+) M decisions a second by one thread, +([\d.]+) M by two, x ([\d.]+)"
    rows = [list(match.groups()) for line in details if (match := re.match(pattern, line))]
    ratio = [line.strip() for line in details if "hit ratio" in line]
    if not rows:
        return None
    text = table(["decisions, M/s", "one thread", "two", "x"], rows)
    return "\n\n".join([text, *(line[0].upper() + line[1:] + "." for line in ratio)])


def plain(lines):
    """What is a table by itself, or a list."""
    return "```text\n" + "\n".join(line.rstrip() for line in lines) + "\n```"


def fill(text, name, content):
    """The text with new content between a name's markers."""
    if not content:
        return text
    pattern = rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)"
    text, count = re.subn(pattern, lambda match: f"{match[1]}{content}\n{match[2]}", text, flags=re.DOTALL)
    if count != 1:
        sys.exit(f"charts.py: benches/README.md has no one place that is marked {name}")
    return text


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    lines = [line.rstrip() for path in sys.argv[1:] for line in Path(path).read_text().splitlines()]
    readme = FOLDER / "README.md"
    text = readme.read_text()
    text = fill(text, "goals", goals(lines))
    makers = {"G1": [("hit", hit)], "G3": [("scaling", scaling)], "G5": [("loopback", loopback)],
              "growth": [("growth", growth), ("throughput", throughput)]}
    for name, details in sections(lines):
        for marker, maker in makers.get(name, []):
            text = fill(text, marker, maker(details))
        if name in ("G2", "G4", "G7", "G8", "G10", "G11"):
            text = fill(text, name, plain(details))
        if name.startswith("machine: "):
            text = fill(text, "machine", name.removeprefix("machine: ") + ".")
    profile = "\n".join(lines)
    if match := re.search(r"^instructions of one hit.*?^in all.*?$", profile, re.DOTALL | re.MULTILINE):
        rows = [re.split(r" {2,}", line) for line in match[0].splitlines()]
        text = fill(text, "profile", table(rows[0], rows[1:]))
    if match := re.search(r"^layer, by function\n(.*?)\n\n", profile, re.DOTALL | re.MULTILINE):
        text = fill(text, "functions", plain(match[1].splitlines()))
    if match := re.search(r"^clocks that a hit of the layer reads\n((?: .+\n?)+)", profile, re.MULTILINE):
        text = fill(text, "clocks", plain(match[1].splitlines()))
    readme.write_text(text)


main()
