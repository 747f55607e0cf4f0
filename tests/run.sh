#!/usr/bin/env bash
# Runs the tests, all of them or the parts that are named:
#
#   tests/run.sh [lib] [it] [tls] [doc] [examples] [models] [stateful] [bench-smoke]
#
# TEST_DATABASE_URL names a PostgreSQL server whose user may make schemas and roles; without it a
# private one is started, and stopped at the end. TEST_POOLER_URL names a PgBouncer in transaction mode
# before that server; without it, too, a private one is started, and likewise a MariaDB, whose user may
# make databases, without TEST_MYSQL_URL. TEST_DJANGO_PYTHON names a Python that has what
# tests/django/requirements.txt lists; without it a virtual environment is made in the target folder, and
# kept there. TOKEN_AUTH_FULL=1 runs every count in full; without it a stated share is run. A test that had
# to leave something out prints a line that begins with `SKIPPED `, and that fails the run.
set -euo pipefail
cd "$(dirname "$0")/.."

all=(lib it tls doc examples models stateful bench-smoke)
parts=("$@")
[ ${#parts[@]} -gt 0 ] || parts=("${all[@]}")
for part in "${parts[@]}"; do
    case " ${all[*]} " in
        *" $part "*) ;;
        *) echo "tests/run.sh: no part is called '$part'; there are: ${all[*]}" >&2; exit 2 ;;
    esac
done

# Whether a part was asked for that wants a database server, or a pooler, and none was named.
wants_server() {
    [ -z "${TEST_DATABASE_URL:-}" ] && case " ${parts[*]} " in
        *" lib "* | *" it "* | *" examples "* | *" stateful "* | *" bench-smoke "*) ;;
        *) false ;;
    esac
}
wants_pooler() {
    [ -z "${TEST_POOLER_URL:-}" ] && case " ${parts[*]} " in *" it "*) ;; *) false ;; esac
}

wants_site() {
    case " ${parts[*]} " in *" it "* | *" examples "*) ;; *) false ;; esac
}
wants_python() {
    [ -z "${TEST_DJANGO_PYTHON:-}" ] && wants_site
}
wants_mariadb() {
    [ -z "${TEST_MYSQL_URL:-}" ] && wants_site
}

# Debian puts them where only root looks.
pooler_program() {
    PATH="$PATH:/usr/sbin" command -v pgbouncer
}
mariadb_program() {
    PATH="$PATH:/usr/sbin" command -v mariadbd
}

# Debian has what a virtual environment is made with in a package of its own.
makes_environments() {
    python3 -c 'import ensurepip, venv' 2>/dev/null
}

# Whether one was asked for that stops and starts a server: always one of its own.
wants_programs() {
    wants_server || case " ${parts[*]} " in *" it "* | *" tls "* | *" bench-smoke "*) ;; *) false ;; esac
}

# Whether one was asked for that makes certificates.
wants_certificates() {
    case " ${parts[*]} " in *" tls "*) ;; *) false ;; esac
}

# Where Debian puts the newest server's programs, or wherever they are on the path.
server_programs() {
    local found
    found=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -1)
    [ -n "$found" ] || found=$(dirname "$(command -v initdb || echo /nowhere/initdb)")
    [ -x "$found/initdb" ] && [ -x "$found/postgres" ] && echo "$found"
}

# Installs Debian's packages, and nothing that they bring along is started as a service.
install_packages() {
    apt-get update -q
    (
        policy=/usr/sbin/policy-rc.d
        if [ ! -e "$policy" ]; then
            trap 'rm -f "$policy"' EXIT
            printf '#!/bin/sh\nexit 101\n' >"$policy"
            chmod 755 "$policy"
        fi
        DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends "$@"
    )
}

# A C compiler for libsqlite3-sys, another program to write to a SQLite file, two database servers, a
# pooler to stand before one of them and certificates for it, and a Python for Django, from Debian's packages.
missing=()
command -v cc >/dev/null || missing+=(gcc libc6-dev)
command -v sqlite3 >/dev/null || command -v python3 >/dev/null || missing+=(sqlite3)
if wants_programs; then server_programs >/dev/null || missing+=(postgresql); fi
if wants_pooler; then pooler_program >/dev/null || missing+=(pgbouncer); fi
if wants_certificates; then command -v openssl >/dev/null || missing+=(openssl); fi
if wants_mariadb; then mariadb_program >/dev/null || missing+=(mariadb-server); fi
if wants_python; then makes_environments || missing+=(python3 python3-venv); fi
if [ ${#missing[@]} -gt 0 ]; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        install_packages "${missing[@]}"
    else
        echo "tests/run.sh: missing: ${missing[*]} (not root, or no apt to install them);" \
            "\`cargo test\` needs nothing of this script" >&2
        exit 1
    fi
fi

# A folder of our own for temporary files and for what the tests print; it goes when we go.
folder=$(mktemp -d "${TMPDIR:-/tmp}/token-auth-tests.XXXXXX")
server=
pooler=
mariadb=
trap 'stop_pooler; stop_server; stop_mariadb; rm -rf "$folder"' EXIT
mkdir "$folder/tmp"
# As /tmp is: a test that gives up root's rights, to be refused by the file system, writes there too.
chmod 755 "$folder"
chmod 1777 "$folder/tmp"
export TMPDIR="$folder/tmp"
export TOKEN_AUTH_FULL="${TOKEN_AUTH_FULL:-}"
export CARGO_TERM_COLOR="${CARGO_TERM_COLOR:-never}"
target="${CARGO_TARGET_DIR:-$PWD/target}"
features=(--features full,test-util)

# As whom servers and pooler run: they refuse to run as root.
as_server=()
as_mariadb=()
if [ "$(id -u)" = 0 ]; then
    as_server=(runuser -u postgres --)
    as_mariadb=(runuser -u mysql --)
fi

# Starts a private PostgreSQL: on the loopback interface and a free port, with a password, and its files
# in our folder. What it holds is worth nothing, so that it need not be synced to disk. The password
# goes in the clear, as a client without optimizations takes a tenth of a second for each SCRAM login.
start_server() {
    local data="$folder/postgres" programs password port try
    programs=$(server_programs)
    password=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
    mkdir "$data"
    printf '%s\n' "$password" >"$folder/password"
    if [ "$(id -u)" = 0 ]; then chown postgres "$data" "$folder/password"; fi
    (cd "$data" && "${as_server[@]}" "$programs/initdb" -D "$data/data" -U postgres -E UTF8 --locale=C.UTF-8 \
        -A password --pwfile="$folder/password" --no-sync >"$folder/initdb.log" 2>&1) || {
        cat "$folder/initdb.log" >&2
        return 1
    }
    for try in 1 2 3 4 5; do
        port=$((20000 + (RANDOM << 1 ^ RANDOM) % 30000))
        (cd "$data" && exec "${as_server[@]}" "$programs/postgres" -D "$data/data" -k "$data" -p "$port" \
            -c listen_addresses=127.0.0.1 -c max_connections=300 -c fsync=off \
            -c synchronous_commit=on -c full_page_writes=off) >"$folder/postgres.log" 2>&1 &
        server=$!
        while kill -0 "$server" 2>/dev/null; do
            if "$programs/pg_isready" -q -h 127.0.0.1 -p "$port"; then
                export TEST_DATABASE_URL="postgres://postgres:$password@127.0.0.1:$port/postgres"
                return 0
            fi
            sleep 0.1
        done
        # The port was taken.
        server=
    done
    cat "$folder/postgres.log" >&2
    return 1
}

# At once, as nothing of it is kept.
stop_server() {
    [ -n "$server" ] || return 0
    local postmaster
    postmaster=$(head -n 1 "$folder/postgres/data/postmaster.pid" 2>/dev/null || echo "$server")
    kill -QUIT "$postmaster" 2>/dev/null || true
    wait "$server" 2>/dev/null || true
    server=
}

# Starts a private PgBouncer before the server, in transaction mode and on a free port of the loopback
# interface. Four connections to the server for many clients, so that each meets other servers all the time.
start_pooler() {
    local data="$folder/pgbouncer" url user password host database how port try
    url=${TEST_DATABASE_URL#*://}
    url=${url%%\?*}
    user=${url%@*} host=${url##*@}
    database=${host#*/} host=${host%%/*}
    # A server that asks nobody for a password needs none in its URL.
    case $user in *:*) password=${user#*:} how=plain ;; *) password= how=trust ;; esac
    user=${user%%:*}
    # As the URL has them, percent-encoded.
    printf -v user '%b' "${user//%/\\x}"
    printf -v password '%b' "${password//%/\\x}"
    mkdir "$data"
    printf '"%s" "%s"\n' "$user" "$password" >"$data/users"
    for try in 1 2 3 4 5; do
        port=$((20000 + (RANDOM << 1 ^ RANDOM) % 30000))
        cat >"$data/pgbouncer.ini" <<END
[databases]
* = host=${host%:*} port=${host##*:}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = $port
unix_socket_dir =
auth_type = $how
auth_file = $data/users
pidfile = $data/pid
pool_mode = transaction
default_pool_size = 4
max_client_conn = 500
ignore_startup_parameters = extra_float_digits
END
        if [ "$(id -u)" = 0 ]; then chown -R postgres "$data"; fi
        (cd "$data" && exec "${as_server[@]}" "$(pooler_program)" pgbouncer.ini) >"$folder/pgbouncer.log" 2>&1 &
        pooler=$!
        while kill -0 "$pooler" 2>/dev/null; do
            if grep -q "listening on 127.0.0.1:$port" "$folder/pgbouncer.log"; then
                export TEST_POOLER_URL="postgres://${url%@*}@127.0.0.1:$port/$database"
                return 0
            fi
            sleep 0.1
        done
        # The port was taken.
        pooler=
    done
    cat "$folder/pgbouncer.log" >&2
    return 1
}

stop_pooler() {
    [ -n "$pooler" ] || return 0
    kill -TERM "$(cat "$folder/pgbouncer/pid" 2>/dev/null || echo "$pooler")" 2>/dev/null || true
    wait "$pooler" 2>/dev/null || true
    pooler=
}

# Starts a private MariaDB, as the PostgreSQL above, and as strict and as much of Unicode as Debian's own.
start_mariadb() {
    local data="$folder/mariadb" password port try
    password=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
    mkdir "$data"
    # Nobody but the tests, whom the server lets in only with the password.
    cat >"$data/users.sql" <<END
DELETE FROM mysql.global_priv WHERE User <> 'mariadb.sys';
FLUSH PRIVILEGES;
CREATE USER 'tests'@'127.0.0.1' IDENTIFIED BY '$password';
GRANT ALL PRIVILEGES ON *.* TO 'tests'@'127.0.0.1' WITH GRANT OPTION;
END
    chmod 700 "$data"
    if [ "$(id -u)" = 0 ]; then chown -R mysql "$data"; fi
    "${as_mariadb[@]}" mariadb-install-db --no-defaults --datadir="$data/data" --skip-test-db \
        --skip-name-resolve --auth-root-authentication-method=normal >"$folder/mariadb.log" 2>&1 || {
        cat "$folder/mariadb.log" >&2
        return 1
    }
    for try in 1 2 3 4 5; do
        port=$((20000 + (RANDOM << 1 ^ RANDOM) % 30000))
        "${as_mariadb[@]}" "$(mariadb_program)" --no-defaults --datadir="$data/data" --port="$port" \
            --bind-address=127.0.0.1 --socket="$data/socket" --pid-file="$data/pid" \
            --init-file="$data/users.sql" --skip-name-resolve --max-connections=300 \
            --character-set-server=utf8mb4 --performance-schema=off --innodb-doublewrite=off \
            --innodb-flush-log-at-trx-commit=0 --innodb-flush-method=nosync >"$folder/mariadb.log" 2>&1 &
        mariadb=$!
        while kill -0 "$mariadb" 2>/dev/null; do
            if grep -q 'ready for connections' "$folder/mariadb.log"; then
                export TEST_MYSQL_URL="mysql://tests:$password@127.0.0.1:$port/mysql"
                return 0
            fi
            sleep 0.1
        done
        # The port was taken.
        mariadb=
    done
    cat "$folder/mariadb.log" >&2
    return 1
}

# At once, as nothing of it is kept.
stop_mariadb() {
    [ -n "$mariadb" ] || return 0
    kill -KILL "$(cat "$folder/mariadb/pid" 2>/dev/null || echo "$mariadb")" 2>/dev/null || true
    wait "$mariadb" 2>/dev/null || true
    mariadb=
}

# Makes a virtual environment with what tests/django/requirements.txt lists, unless one of this list and
# this Python was made before.
make_python() {
    local list=tests/django/requirements.txt name made
    name=$({ python3 -c 'import sys; print(sys.executable, sys.version)'; cat "$list"; } | cksum)
    made="$target/django-${name%% *}"
    if [ ! -e "$made/whole" ]; then
        rm -rf "$target"/django-*
        python3 -m venv "$made"
        "$made/bin/python" -m pip install -q --disable-pip-version-check -r "$list"
        touch "$made/whole"
    fi
    export TEST_DJANGO_PYTHON="$made/bin/python"
}

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

if wants_server; then start_server; fi
if wants_pooler; then start_pooler; fi
if wants_mariadb; then start_mariadb; fi
if wants_python; then make_python; fi

for part in "${parts[@]}"; do
    SECONDS=0
    case $part in
        lib) run cargo test --lib "${features[@]}" -- --show-output ;;
        it) run cargo test --test it "${features[@]}" -- --show-output --skip examples:: ;;
        # With as little as has to be built once more for it, and against a server of its own.
        tls)
            run cargo test --test it --no-default-features --features postgres,tls-rustls-ring-webpki \
                -- --show-output postgres::tls
            ;;
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
