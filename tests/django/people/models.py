"""A user with another kind of id, and a token model of the site's own."""

import uuid

from django.conf import settings
from django.contrib.auth.models import AbstractUser
from django.db import models
from knox.models import AbstractAuthToken


def id_field():
    if settings.USER_ID == "uuid":
        return models.UUIDField(primary_key=True, default=uuid.uuid4)
    return models.BigAutoField(primary_key=True)


class Person(AbstractUser):
    id = id_field()


class Pass(AbstractAuthToken):
    user = models.ForeignKey(Person, on_delete=models.CASCADE, related_name="auth_token_set")
