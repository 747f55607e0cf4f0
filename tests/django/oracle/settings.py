"""The site's settings, each of them chosen by the environment.

| variable | what |
| --- | --- |
| ORACLE_DATABASE_URL | `sqlite://PATH`, `postgres://…` or `mysql://…`, as sqlx takes it |
| ORACLE_SCHEMA | `knox` (the default), or `smarter` for Smarter's tables and its authentication |
| ORACLE_USER | `auth` (the default) for Django's own users; `bigint` or `uuid` for others, by their ids |
| ORACLE_TOKEN | `knox` (the default), or `people` for a token model of those users' |
| ORACLE_APPS | more apps, separated by commas: `rest_framework.authtoken` has DRF's own tokens |
| ORACLE_KNOX | knox's settings as JSON, durations in seconds |
| ORACLE_LOGIN | by what a login authenticates: classes of DRF's, separated by commas; `Basic` by default |
| ORACLE_USE_TZ | `0` stores local times without a zone |
| ORACLE_TIME_ZONE | the site's time zone, UTC by default |
| ORACLE_DATABASE_TIME_ZONE | the zone that the database's own times are in, where they have none |
| ORACLE_CONN_MAX_AGE | for how many seconds a connection is kept; 0 by default, as is Django's |
"""

import json
import os
from datetime import timedelta

from oracle import database

DURATIONS = ("TOKEN_TTL", "AUTO_REFRESH_MAX_TTL")


def knox(settings):
    """knox's settings, as they come as JSON."""
    return {
        name: timedelta(seconds=value) if name in DURATIONS and value is not None else value
        for name, value in settings.items()
    }


SCHEMA = os.environ.get("ORACLE_SCHEMA", "knox")
DATABASES = {"default": database.parse(os.environ.get("ORACLE_DATABASE_URL", "sqlite://:memory:"))}
DATABASES["default"]["CONN_MAX_AGE"] = int(os.environ.get("ORACLE_CONN_MAX_AGE", "0"))
if "ORACLE_DATABASE_TIME_ZONE" in os.environ:
    DATABASES["default"]["TIME_ZONE"] = os.environ["ORACLE_DATABASE_TIME_ZONE"]
if DATABASES["default"]["ENGINE"].endswith("mysql"):
    import pymysql

    pymysql.install_as_MySQLdb()

# `people` asks for it.
USER_ID = os.environ.get("ORACLE_USER", "auth")
if USER_ID != "auth":
    AUTH_USER_MODEL = "people.Person"
if os.environ.get("ORACLE_TOKEN", "knox") == "people":
    KNOX_TOKEN_MODEL = "people.Pass"

USE_TZ = os.environ.get("ORACLE_USE_TZ", "1") == "1"
TIME_ZONE = os.environ.get("ORACLE_TIME_ZONE", "UTC")
REST_KNOX = knox(json.loads(os.environ.get("ORACLE_KNOX", "{}")))

# Nothing of it is worth keeping secret.
SECRET_KEY = "of the tests"
ALLOWED_HOSTS = ["*"]
# Quick to make: what a password is hashed with is nothing that is compared.
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
INSTALLED_APPS = ["django.contrib.contenttypes", "django.contrib.auth", "rest_framework", "knox"]
INSTALLED_APPS += filter(None, os.environ.get("ORACLE_APPS", "").split(","))
if USER_ID != "auth":
    INSTALLED_APPS.append("people")
if SCHEMA == "smarter":
    INSTALLED_APPS.append("smarter")
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
# It gives a response its length.
MIDDLEWARE = ["django.middleware.common.CommonMiddleware"]
ROOT_URLCONF = "oracle.urls"
TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}]
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        f"rest_framework.authentication.{name}Authentication"
        for name in os.environ.get("ORACLE_LOGIN", "Basic").split(",")
    ]
}
# A request that fails is answered with 500; the trace of it is nobody's business, as it may show a token.
LOGGING = {"version": 1, "disable_existing_loggers": True, "root": {"handlers": []}}
LOGGING_CONFIG = "oracle.settings.silence"


def silence(_):
    import logging

    logging.disable(logging.CRITICAL)
