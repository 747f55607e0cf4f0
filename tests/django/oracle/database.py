"""One database of our own: what its URL means to Django, how it is made, and how it goes."""

import contextlib
from urllib.parse import parse_qsl, unquote, urlsplit

ENGINES = {"sqlite": "sqlite3", "postgres": "postgresql", "postgresql": "postgresql", "mysql": "mysql"}


def parse(url):
    """Django's settings of the database at a URL as sqlx takes it."""
    kind, _, rest = url.partition("://")
    engine = f"django.db.backends.{ENGINES[kind]}"
    if kind == "sqlite":
        path = unquote(rest.partition("?")[0])
        # Several processes write to it in turn.
        return {"ENGINE": engine, "NAME": path, "OPTIONS": {"timeout": 30}}
    parts = urlsplit(url)
    database = {
        "ENGINE": engine,
        "NAME": unquote(parts.path.lstrip("/")),
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": parts.hostname or "127.0.0.1",
        "PORT": str(parts.port or ""),
    }
    if engine.endswith("mysql"):
        database["OPTIONS"] = {"charset": "utf8mb4"}
    else:
        database["OPTIONS"] = dict(parse_qsl(parts.query))
    return database


def create(url):
    """Makes the database that the URL names; it must be new."""
    parsed = parse(url)
    name, engine = parsed["NAME"], parsed["ENGINE"]
    if engine.endswith("mysql"):
        _on_server(parsed, [f"CREATE DATABASE `{name}` CHARACTER SET utf8mb4"])
    elif engine.endswith("postgresql"):
        _on_server(parsed, [f'CREATE DATABASE "{name}" TEMPLATE template0'])


def drop(url):
    """Drops it, whoever is still connected."""
    parsed = parse(url)
    name, engine = parsed["NAME"], parsed["ENGINE"]
    if engine.endswith("mysql"):
        # Somebody's open transaction would be waited for, for a day.
        connected = f"SELECT id FROM information_schema.processlist WHERE db = '{name}'"
        for (somebody,) in _on_server(parsed, [connected]):
            with contextlib.suppress(Exception):  # Gone meanwhile.
                _on_server(parsed, [f"KILL CONNECTION {somebody}"])
        _on_server(parsed, ["SET lock_wait_timeout = 10", f"DROP DATABASE IF EXISTS `{name}`"])
    elif engine.endswith("postgresql"):
        _on_server(parsed, [f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)'])


def _on_server(parsed, statements):
    """Runs statements past any database; says the rows of the last, if it has some."""
    host, port, user, password = (parsed[key] for key in ("HOST", "PORT", "USER", "PASSWORD"))
    if parsed["ENGINE"].endswith("mysql"):
        import pymysql

        connection = pymysql.connect(
            host=host, port=int(port or 3306), user=user, password=password, autocommit=True
        )
    else:
        import psycopg

        connection = psycopg.connect(
            host=host, port=port or None, user=user, password=password, dbname="postgres", autocommit=True
        )
    with connection:
        cursor = connection.cursor()
        for statement in statements:
            cursor.execute(statement)
        return cursor.fetchall() if cursor.description else []
