#!/usr/bin/env bash
# Counts the instructions of one hit, by callgrind: the same at every run, whatever else the machine does.
#
#   benches/profile.sh [CONTENDER...]        bare insertion floor layer by-hand; all of them by default
#
# Of each contender a run of 11,000 hits less one of 1,000, divided by 10,000: what a process takes to start,
# and what a hit costs once in a while, is in both. Prints what a hit takes in all, by named costs and by
# function, and which clocks it reads.
set -euo pipefail
cd "$(dirname "$0")/.."

for program in valgrind python3; do
    command -v "$program" >/dev/null || {
        echo "benches/profile.sh: there is no $program: install Debian's packages valgrind, libc6-dbg and python3" >&2
        exit 1
    }
done

contenders=("$@")
[ ${#contenders[@]} -gt 0 ] || contenders=(bare insertion floor layer by-hand)
few=1000 many=11000
folder=$(mktemp -d "${TMPDIR:-/tmp}/token-auth-profile.XXXXXX")
trap 'rm -rf "$folder"' EXIT

# Built as the report is, with the lines of the source beside.
report=$(cargo bench --profile profiling --bench report --features full --no-run --message-format json |
    python3 -c '
import json, sys
built = (json.loads(line) for line in sys.stdin)
print([it["executable"] for it in built if it.get("executable") and it["target"]["name"] == "report"][-1])')

for contender in "${contenders[@]}"; do
    for count in $few $many; do
        # What stands before the hits is not counted; only the thread that serves them enters `profiled`.
        valgrind -q --tool=callgrind --toggle-collect='*one_hit::profiled*' --compress-strings=no \
            --compress-pos=no --dump-instr=yes --callgrind-out-file="$folder/$contender.$count" \
            "$report" --bench one-hit "$contender" "$count"
    done
done
# The numbers of the clocks that are read, one for each call: under valgrind they are calls to the system.
for count in $few $many; do
    valgrind -q --tool=none --trace-syscalls=yes "$report" --bench one-hit layer "$count" \
        >"$folder/clocks.$count" 2>&1
done
python3 benches/profile.py "$folder" $few $many "${contenders[@]}"
