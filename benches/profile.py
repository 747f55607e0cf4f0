"""Tables of what `benches/profile.sh` had counted: instructions of one hit, by cost and by function.

    python3 benches/profile.py FOLDER FEW MANY CONTENDER...

Each instruction is of one line of one file, also where that was inlined; the file tells the cost that it is a
part of. Where that is the standard library's, it is a part of what stands before it in its function.
"""

import re
import sys
from collections import Counter
from pathlib import Path

# The first one that fits names the cost: by the function's name, or by the file's path.
COSTS = [
    ("clock", r"clock_gettime|/clock/|/rustix-|/time\.rs|/timespec"),
    ("allocator", r"malloc|free|calloc|realloc|/arena\.c|counting-allocator|alloc/src/alloc\.rs"),
    ("moves", r"memcpy|memmove|memset"),
    ("fingerprint", r"/fingerprint\.rs"),
    ("fence", r"cache/fence\.rs|cache/sync\.rs|cache/suspects\.rs"),
    ("table", r"cache/front/"),
    ("meter", r"/meter/|/metrics-"),
    ("trace, events", r"/trace\.rs|/tracing|/events\.rs|/usecase/"),
    ("parse", r"/edge/credential/|/edge/answers\.rs|/http-[^/]*/src/(header|byte_str)"),
    ("insertion", r"/http-[^/]*/src/extensions\.rs|hashbrown"),
    ("layer's own", r"/edge/|src/value/key/"),
    ("service, request, response", r"/benches/report/|/http-|/bytes-|/http-body"),
]
GLUE = "glue of the standard library"


class Profile:
    """What callgrind told of one run."""

    def __init__(self, path):
        self.by_cost, self.by_function, self.calls = Counter(), Counter(), Counter()
        function = file = called = ""
        before = GLUE
        is_call = False
        for line in path.read_text(errors="replace").splitlines():
            if match := re.match(r"(fn|fl|fi|fe|cfn)=(.*)", line):
                kind, name = match.groups()
                if kind == "fn":
                    function, before = name, GLUE
                elif kind == "cfn":
                    called = name
                else:
                    file = name
            elif match := re.match(r"calls=(\d+)", line):
                # What the callee took stands in the next line; it is counted where the callee is.
                self.calls[called] += int(match[1])
                is_call = True
            elif match := re.match(r"0x[0-9a-f]+ \d+ (\d+)$", line):
                if not is_call:
                    named = cost(function, file)
                    before = before if named == GLUE else named
                    self.by_cost[before] += int(match[1])
                    self.by_function[short(function)] += int(match[1])
                is_call = False

    def less(self, other, hits):
        """What one hit takes, of `hits` by which the runs differ."""
        for name in ("by_cost", "by_function", "calls"):
            mine, its = getattr(self, name), getattr(other, name)
            setattr(self, name, {key: (mine[key] - its[key]) / hits for key in mine | its})
        return self


def cost(function, file):
    for name, pattern in COSTS:
        if re.search(pattern, function) or re.search(pattern, file):
            return name
    return GLUE


def short(function):
    """A function's name without its paths and its hash."""
    function = re.sub(r"::h[0-9a-f]{16}$", "", function)
    function = re.sub(r"'\d+$|@@?[A-Z_0-9.]+$", "", function)
    return re.sub(r"(?:[\w{}#]+::)+(?=[\w{}#<]+::[\w{}#<])", "", function)


def clocks(folder, few, many):
    """How often a hit reads each clock."""
    runs = []
    for count in (few, many):
        text = (folder / f"clocks.{count}").read_text(errors="replace")
        runs.append(Counter(re.findall(r"sys_clock_gettime\s*\(\s*(\d+)", text)))
    names = {"0": "CLOCK_REALTIME", "1": "CLOCK_MONOTONIC", "5": "CLOCK_REALTIME_COARSE",
             "6": "CLOCK_MONOTONIC_COARSE"}
    read = {names.get(id, id): (runs[1][id] - runs[0][id]) / (many - few) for id in runs[0] | runs[1]}
    return {name: count for name, count in read.items() if abs(count) >= 0.01}


def main():
    folder, few, many = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    contenders = sys.argv[4:]
    profiles = {}
    for contender in contenders:
        runs = [Profile(folder / f"{contender}.{count}") for count in (few, many)]
        profiles[contender] = runs[1].less(runs[0], many - few)

    print(f"{'instructions of one hit':<32}" + "".join(f"{name:>11}" for name in contenders))
    rows = [name for name, _ in COSTS] + [GLUE]
    for row in rows:
        counts = [profile.by_cost.get(row, 0) for profile in profiles.values()]
        if any(abs(count) >= 0.05 for count in counts):
            print(f"{row:<32}" + "".join(f"{count:>11.1f}" for count in counts))
    totals = [sum(profile.by_cost.values()) for profile in profiles.values()]
    print(f"{'in all':<32}" + "".join(f"{total:>11.1f}" for total in totals))

    for contender in contenders:
        print(f"\n{contender}, by function")
        counted = sorted(profiles[contender].by_function.items(), key=lambda item: -item[1])
        for name, count in counted[:14]:
            if count >= 0.5:
                print(f"{count:>9.1f}  {name[:110]}")

    print("\nclocks that a hit of the layer reads")
    for name, count in clocks(folder, few, many).items():
        print(f"{count:>9.4f}  {name}")


main()
