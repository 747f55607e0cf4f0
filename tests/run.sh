#!/usr/bin/env bash
# Runs the tests, all of them or the parts that are named:
#
#   tests/run.sh [lib] [it] [doc] [examples] [models] [stateful] [bench-smoke]
#
# TOKEN_AUTH_FULL=1 runs every count in full; without it a stated share is run. A test that had to
# leave something out prints a line that begins with `SKIPPED `, and that fails the run.
set -euo pipefail
cd "$(dirname "$0")/.."

all=(lib it doc examples models stateful bench-smoke)
parts=("$@")
[ ${#parts[@]} -gt 0 ] || parts=("${all[@]}")
for part in "${parts[@]}"; do
    case " ${all[*]} " in
        *" $part "*) ;;
        *) echo "tests/run.sh: no part is called '$part'; there are: ${all[*]}" >&2; exit 2 ;;
    esac
done

# A C compiler for libsqlite3-sys, and another program to write to a SQLite file, from Debian's
# packages.
missing=()
command -v cc >/dev/null || missing+=(gcc libc6-dev)
command -v sqlite3 >/dev/null || command -v python3 >/dev/null || missing+=(sqlite3)
if [ ${#missing[@]} -gt 0 ]; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        apt-get update -q && apt-get install -qy --no-install-recommends "${missing[@]}"
    else
        echo "tests/run.sh: missing: ${missing[*]} (not root, or no apt to install them);" \
            "\`cargo test\` needs nothing of this script" >&2
        exit 1
    fi
fi

# A folder of our own for temporary files and for what the tests print; it goes when we go.
folder=$(mktemp -d "${TMPDIR:-/tmp}/token-auth-tests.XXXXXX")
trap 'rm -rf "$folder"' EXIT
mkdir "$folder/tmp"
# As /tmp is: a test that gives up root's rights, to be refused by the file system, writes there too.
chmod 755 "$folder"
chmod 1777 "$folder/tmp"
export TMPDIR="$folder/tmp"
export TOKEN_AUTH_FULL="${TOKEN_AUTH_FULL:-}"
export CARGO_TERM_COLOR="${CARGO_TERM_COLOR:-never}"
target="${CARGO_TARGET_DIR:-$PWD/target}"
features=(--features full,test-util)

# Runs one command, shows what it prints, and keeps it for the search for skipped tests.
run() {
    echo "+ $*"
    "$@" 2>&1 | tee -a "$folder/output"
}

# The model checkers replace the crate's atomics by a cfg, so each has a target folder of its own.
model() {
    CARGO_TARGET_DIR="$target/models-$1" RUSTFLAGS="${RUSTFLAGS:-} --cfg token_auth_$1" \
        run cargo test --release --manifest-path tests/models/Cargo.toml -- --show-output
}

for part in "${parts[@]}"; do
    SECONDS=0
    case $part in
        lib) run cargo test --lib "${features[@]}" -- --show-output ;;
        it) run cargo test --test it "${features[@]}" -- --show-output --skip examples:: ;;
        doc) run cargo test --doc "${features[@]}" ;;
        examples) run cargo test --test it "${features[@]}" -- --show-output examples:: ;;
        models)
            model loom
            model shuttle
            ;;
        stateful)
            run cargo test --profile stateful -p token-auth-stateful -- --nocapture --test-threads=1
            ;;
        # Unoptimized and short: it shows that the report still runs, not how fast anything is.
        bench-smoke) run cargo test --bench report "${features[@]}" -- --smoke ;;
    esac
    echo "== $part: ${SECONDS} s"
done

if grep -a '^SKIPPED ' "$folder/output"; then
    echo "tests/run.sh: the tests above were skipped, so this run proves less than it should" >&2
    exit 1
fi
echo "tests/run.sh: ${parts[*]}: ok"
