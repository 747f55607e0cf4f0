"""Requests a second of real knox (gunicorn, two workers) and of the example `knox`, over one database.

    TEST_DJANGO_PYTHON=… python3 benches/knox/throughput.py [SECONDS]

TEST_DJANGO_PYTHON is a Python with what tests/django/requirements.txt names; TEST_DATABASE_URL and
TEST_MYSQL_URL name a PostgreSQL and a MariaDB server, where one is to be measured beside SQLite. Both
services answer `GET /whoami` to the same token, of a user with 1 and with 50 of them, under the same load by
`wrk`, in turns: each turn's ratio is one figure, and the median and the spread of five are told. The load
generator and both services share the machine's cores.
"""

import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import uuid
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TURNS = 5
CONNECTIONS = 16


class Django:
    """The site of the tests, driven by a line for each order."""

    def __init__(self, url):
        environment = dict(os.environ, ORACLE_DATABASE_URL=url, ORACLE_SCHEMA="knox")
        # A site that minds its speed keeps its connections.
        environment |= {"ORACLE_CONN_MAX_AGE": "600", "PYTHONDONTWRITEBYTECODE": "1"}
        self.process = subprocess.Popen(
            [os.environ["TEST_DJANGO_PYTHON"], "-m", "oracle.control"],
            cwd=ROOT / "tests/django",
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.answer()

    def order(self, name, **arguments):
        self.process.stdin.write(json.dumps({"do": name, "with": arguments}) + "\n")
        self.process.stdin.flush()
        return self.answer()

    def answer(self):
        answer = json.loads(self.process.stdout.readline())
        if "ok" not in answer:
            sys.exit(f"Django answers {answer}")
        return answer["ok"]

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def serve_ours(url):
    """Starts the example; gives the process and where it listens."""
    program = ROOT / "target/release/examples/knox"
    environment = dict(os.environ, DATABASE_URL=url, ADDR="127.0.0.1:0")
    process = subprocess.Popen([program], env=environment, stdout=subprocess.PIPE, text=True)
    line = process.stdout.readline()
    found = re.search(r"http://\S+", line)
    if not found:
        sys.exit(f"the example says {line!r}")
    return process, found.group()


def load(base, token, seconds):
    """Requests a second; none of them may be refused."""
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s"]
    command += ["-H", f"Authorization: Token {token}", f"{base}/whoami"]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    if "Non-2xx" in said or "Socket errors" in said:
        sys.exit(f"not every request of {base} was answered: {said}")
    return float(re.search(r"Requests/sec:\s+([\d.]+)", said).group(1))


def measure(name, url, seconds):
    django = Django(url)
    try:
        user = django.order("user", username="ada")
        theirs = f"http://127.0.0.1:{django.order('serve')}"
        process, ours = serve_ours(url)
        try:
            tokens = [django.order("issue", user=user)["token"]]
            for count in (1, 50):
                while len(tokens) < count:
                    tokens.append(django.order("issue", user=user)["token"])
                pairs = []
                for base in (theirs, ours):
                    load(base, tokens[0], 1)
                for _ in range(TURNS):
                    pairs.append((load(theirs, tokens[0], seconds), load(ours, tokens[0], seconds)))
                ratios = sorted(we / they for they, we in pairs)
                they, we = (statistics.median(column) for column in zip(*pairs))
                print(
                    f"{name:<10} {count:>2} tokens a user   knox {they:>7.0f}/s   ours {we:>7.0f}/s   "
                    f"ratio {statistics.median(ratios):.0f} [{ratios[0]:.0f}, {ratios[-1]:.0f}]",
                    flush=True,
                )
        finally:
            process.terminate()
            process.wait()
    finally:
        django.close()


def with_database(server):
    """The same server, and a database that the site makes and drops."""
    return f"{server.rsplit('/', 1)[0]}/t_{uuid.uuid4().hex}"


def main():
    seconds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    if "TEST_DJANGO_PYTHON" not in os.environ:
        sys.exit("TEST_DJANGO_PYTHON names no Python with Django: `tests/run.sh it` makes one in target/")
    if subprocess.run(["sh", "-c", "command -v wrk"], capture_output=True).returncode:
        sys.exit("wrk is missing: it is a package of Debian's")
    build = ["cargo", "build", "--release", "--example", "knox", "--features", "full"]
    subprocess.run(build, cwd=ROOT, check=True)
    with tempfile.TemporaryDirectory() as folder:
        measure("SQLite", f"sqlite://{folder}/django.db", seconds)
    for name, variable in (("PostgreSQL", "TEST_DATABASE_URL"), ("MariaDB", "TEST_MYSQL_URL")):
        if variable in os.environ:
            measure(name, with_database(os.environ[variable]), seconds)
        else:
            print(f"{name}: left out, {variable} names no server")


main()
