"""Drives the site from another process: one JSON object a line in, one a line out.

`{"do": NAME, "with": {…}}` calls the function of that name below. The answer is `{"ok": VALUE}`, or
`{"error": TYPE, "message": TEXT}` when it raised. Moments are ISO 8601, durations seconds, and raw bytes
of a header Latin-1. The database that ORACLE_DATABASE_URL names is made at the start, migrated, and
dropped at the end, when standard input is closed.
"""

import datetime
import io
import json
import os
import socket
import subprocess
import sys
import tempfile
import urllib.request
import uuid
from pathlib import Path

import django

from oracle import database

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "oracle.settings")

COMMANDS = {}


def command(function):
    COMMANDS[function.__name__] = function
    return function


# Owners, accounts and keys.


@command
def user(username, password=None, **flags):
    """Makes a user, and says its id."""
    from django.contrib.auth import get_user_model

    return plain(get_user_model().objects.create_user(username, password=password, **flags).pk)


@command
def change_user(id, **fields):
    """Saves a user's fields through the ORM."""
    from django.contrib.auth import get_user_model

    found = get_user_model().objects.get(pk=id)
    for name, value in fields.items():
        setattr(found, name, value)
    found.save()


@command
def user_row(id):
    from django.contrib.auth import get_user_model

    return row_of(get_user_model().objects.get(pk=id))


@command
def delete_user(id):
    from django.contrib.auth import get_user_model

    get_user_model().objects.get(pk=id).delete()


@command
def account(account_number):
    from smarter.models import Account

    return Account.objects.create(account_number=account_number).pk


@command
def profile(user, account):
    from smarter.models import UserProfile

    return UserProfile.objects.create(user_id=user, account_id=account).pk


@command
def issue(user, parent_only=False, **fields):
    """Has knox, or Smarter, make a key for a user; `parent_only` makes Smarter's a plain knox key."""
    from django.contrib.auth import get_user_model
    from knox.models import get_token_model

    if fields.get("expiry") is not None:
        fields["expiry"] = datetime.timedelta(seconds=fields["expiry"])
    maker = get_token_model() if parent_only else key_model()
    made, token = maker.objects.create(get_user_model().objects.get(pk=user), **fields)
    return {"token": token, "row": row_of(maker.objects.get(pk=made.pk))}


@command
def issue_many(users, count):
    """Has them issued to the users in turn, in one transaction; says the tokens alone."""
    from django.contrib.auth import get_user_model
    from django.db import transaction

    owners = [get_user_model().objects.get(pk=user) for user in users]
    with transaction.atomic():
        return [key_model().objects.create(owners[at % len(owners)])[1] for at in range(count)]


@command
def plant(user, token, expiry=None, **fields):
    """Saves a key for a token of one's own, as knox would have: knox makes random ones alone."""
    from knox.crypto import hash_token
    from knox.models import get_token_model
    from knox.settings import CONSTANTS

    if key_model() is not get_token_model() and "user_profile_id" not in fields:
        from smarter.models import UserProfile

        fields["user_profile"] = UserProfile.objects.filter(user=user).first()
    key = key_model()(digest=hash_token(token), user_id=user, expiry=moment(expiry), **fields)
    key.token_key = token[: CONSTANTS.TOKEN_KEY_LENGTH]
    key.save(force_insert=True)
    return {"token": token, "row": row_of(key_model().objects.get(pk=key.pk))}


@command
def key(digest):
    """The key's row as the ORM reads it, and nothing where there is none."""
    found = key_model().objects.filter(pk=digest).first()
    return found and row_of(found)


@command
def keys():
    return [row_of(found) for found in key_model().objects.order_by("created", "digest")]


@command
def delete_key(digest):
    key_model().objects.get(pk=digest).delete()


@command
def change_key(digest, **fields):
    """Reads the key and saves it whole, with these fields."""
    return save(load(digest), **fields)


@command
def call_key(digest, method):
    """Calls one of the model's own methods, such as `deactivate`."""
    getattr(key_model().objects.get(pk=digest), method)()


HELD = {}


@command
def load(digest):
    """Reads the key and keeps the object, so that it can become stale; says by what it is called."""
    name = len(HELD)
    HELD[name] = key_model().objects.get(pk=digest)
    return name


@command
def save(held, **fields):
    """Saves an object that was kept."""
    found = HELD[held]
    for name, value in fields.items():
        setattr(found, name, moment(value) if name in ("expiry", "last_used_at") else value)
    found.save()


@command
def link(digest):
    """Links a client of Smarter's to the key; says the link's id."""
    from smarter.models import LLMClientAPIKey

    return LLMClientAPIKey.objects.create(api_key_id=digest).pk


@command
def linked(id):
    """The digest that a link names, and nothing where it is gone."""
    from smarter.models import LLMClientAPIKey

    found = LLMClientAPIKey.objects.filter(pk=id).first()
    return found and found.api_key_id


@command
def drf_token(user):
    """Makes a token of DRF's own, which has its key for a primary key."""
    from rest_framework.authtoken.models import Token

    return Token.objects.create(user_id=user).key


@command
def migrate(app, to):
    """Takes an app's tables to another state, older ones too."""
    from django.core.management import call_command

    call_command("migrate", app, to, verbosity=0)


@command
def sql(statements):
    """Runs statements past the ORM, all on one connection; says the rows of the last."""
    from django.db import connection

    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
        rows = cursor.fetchall() if cursor.description else []
    return [[plain(value) for value in row] for row in rows]


# Requests, and what they go by.


@command
def request(path, method="GET", authorization=None, headers=None):
    """One request through Django's whole stack, in this process and so by its clock."""
    environ = {
        "REQUEST_METHOD": method,
        "PATH_INFO": path,
        "QUERY_STRING": "",
        "SCRIPT_NAME": "",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "CONTENT_LENGTH": "0",
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(),
        "wsgi.errors": io.StringIO(),
    }
    if authorization is not None:
        environ["HTTP_AUTHORIZATION"] = authorization
    for name, value in (headers or {}).items():
        environ["HTTP_" + name.upper().replace("-", "_")] = value
    answered = {}

    def start_response(status, headers, exc_info=None):
        answered.update(status=int(status.split()[0]), headers=headers)

    response = application()(environ, start_response)
    answered["body"] = b"".join(response).decode()
    response.close()
    return answered


@command
def clock(now=None):
    """Stops Django's clock at a moment, or lets it run again."""
    from django.utils import timezone

    stopped = moment(now)
    timezone.now = RUNNING if stopped is None else lambda: stopped


@command
def knox(**settings):
    """Changes knox's settings in this process; those that are not named have their defaults."""
    from django.test.utils import override_settings

    from oracle.settings import knox

    override_settings(REST_KNOX=knox(settings)).enable()


SERVED = []


@command
def serve(workers=2, knox=None):
    """Serves the site by gunicorn; says the port."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=512)
    port = listener.getsockname()[1]
    environment = dict(os.environ)
    if knox is not None:
        environment["ORACLE_KNOX"] = json.dumps(knox)
    said = tempfile.TemporaryFile()
    server = subprocess.Popen(
        [sys.executable, "-m", "gunicorn", "oracle.wsgi:application", "--preload", "--no-control-socket"]
        + ["--workers", str(workers), "--bind", f"fd://{listener.fileno()}", "--log-level", "error"],
        stdin=subprocess.DEVNULL,
        stdout=said,
        stderr=said,
        env=environment,
        cwd=Path(__file__).parent.parent,
        pass_fds=[listener.fileno()],
    )
    SERVED.append(server)
    # The server holds it from here on, so that nobody is left waiting for one that failed.
    listener.close()
    try:
        urllib.request.urlopen(f"http://127.0.0.1:{port}/open", timeout=60).close()
    except OSError as error:
        said.seek(0)
        raise RuntimeError(f"gunicorn: {error}: {said.read().decode()}") from error
    return port


def stop_serving():
    for server in SERVED:
        server.terminate()
    for server in SERVED:
        server.wait()


# What they are made of.


def key_model():
    from django.conf import settings
    from knox.models import get_token_model

    if settings.SCHEMA == "smarter":
        from smarter.models import SmarterAuthToken

        return SmarterAuthToken
    return get_token_model()


def application():
    from oracle.wsgi import application

    return application


def row_of(instance):
    return {field.attname: plain(getattr(instance, field.attname)) for field in instance._meta.concrete_fields}


def plain(value):
    """A value as JSON has it."""
    if isinstance(value, datetime.datetime):
        return value.isoformat(timespec="microseconds")
    if isinstance(value, bytes):
        return value.hex()
    if value is None or isinstance(value, (str, int, float, bool, list, dict)):
        return value
    return str(value)


def moment(text):
    """A moment as the site's models keep it."""
    from django.conf import settings
    from django.utils import timezone

    if text is None:
        return None
    parsed = datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))
    if settings.USE_TZ:
        return parsed
    return timezone.make_naive(parsed) if parsed.tzinfo else parsed


def answer(line):
    try:
        order = json.loads(line)
        return {"ok": COMMANDS[order["do"]](**order.get("with", {}))}
    except Exception as error:
        # PostgreSQL goes on to show the row, digest and all.
        return {"error": type(error).__name__, "message": str(error).partition("\n")[0]}


def main():
    global RUNNING
    # What anything else prints must not be taken for an answer.
    answers, sys.stdout = sys.stdout, sys.stderr
    url = os.environ["ORACLE_DATABASE_URL"]
    database.create(url)
    try:
        django.setup()
        from django.core.management import call_command
        from django.db import connection
        from django.utils import timezone

        RUNNING = timezone.now
        call_command("migrate", verbosity=0)
        print(json.dumps({"ok": "ready"}), file=answers, flush=True)
        for line in sys.stdin:
            print(json.dumps(answer(line)), file=answers, flush=True)
        connection.close()
    finally:
        stop_serving()
        database.drop(url)


if __name__ == "__main__":
    main()
