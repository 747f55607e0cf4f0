"""Smarter's tables by their own names, and what its models do when they are made, saved and used."""

import re
import uuid
from datetime import timedelta

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import models
from django.utils import timezone
from knox import crypto
from knox.models import AuthToken, AuthTokenManager
from knox.settings import CONSTANTS

#: A use is written at most once in so long.
USE_INTERVAL = timedelta(minutes=5)
SEMANTIC = re.compile(r"\d+\.\d+\.\d+([-+].+)?")


class BusinessRuleViolation(Exception):
    """A rule of Smarter's forbids it."""


class Timestamped(models.Model):
    created_at = models.DateTimeField(auto_now_add=True, db_index=True)
    updated_at = models.DateTimeField(auto_now=True, db_index=True)

    class Meta:
        abstract = True


class Account(Timestamped):
    account_number = models.CharField(max_length=255, unique=True, null=True)
    company_name = models.CharField(max_length=255, null=True)

    class Meta:
        db_table = "account_account"


class UserProfile(Timestamped):
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE)
    account = models.ForeignKey(Account, on_delete=models.CASCADE)

    class Meta:
        db_table = "account_userprofile"
        constraints = [models.UniqueConstraint(fields=["user", "account"], name="unique_user_account")]


class SmarterAuthTokenManager(AuthTokenManager):
    def create(self, user, expiry=None, prefix=None, **fields):
        """Makes a key; knox's TOKEN_TTL and TOKEN_PREFIX count for nothing."""
        token = (prefix or "") + crypto.create_token_string()
        fields.setdefault("user_profile", UserProfile.objects.filter(user=user).first())
        key = self.model(
            digest=crypto.hash_token(token),
            token_key=token[: CONSTANTS.TOKEN_KEY_LENGTH],
            user=user,
            expiry=None if expiry is None else timezone.now() + expiry,
            **fields,
        )
        key.save(force_insert=True)
        return key, token


class SmarterAuthToken(AuthToken):
    # In the order of the table's columns.
    created_at = models.DateTimeField(auto_now_add=True, db_index=True)
    updated_at = models.DateTimeField(auto_now=True, db_index=True)
    name = models.CharField(max_length=255)
    description = models.TextField(null=True, blank=True)
    version = models.CharField(max_length=255, null=True, blank=True)
    annotations = models.JSONField(null=True, blank=True, default=list)
    user_profile = models.ForeignKey(UserProfile, on_delete=models.CASCADE)
    key_id = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    last_used_at = models.DateTimeField(null=True, blank=True)
    is_active = models.BooleanField(default=True)
    tags = models.JSONField(default=list)

    objects = SmarterAuthTokenManager()

    class Meta:
        db_table = "drf_smarterauthtoken"

    def save(self, *args, **kwargs):
        """Writes every column of both rows, if the owner is staff."""
        if not self.user.is_staff:
            raise BusinessRuleViolation("API Keys can only be created for staff users.")
        if self.version and not SEMANTIC.fullmatch(self.version):
            raise ValidationError("The version is not a semantic one.")
        self.name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|[\s-]+", "_", self.name or f"key {self.key_id}").lower()
        super().save(*args, **kwargs)

    def activate(self):
        self.is_active = True
        self.save()

    def deactivate(self):
        self.is_active = False
        self.save()

    def toggle_active(self):
        self.is_active = not self.is_active
        self.save()

    def accessed(self):
        now = timezone.now()
        if self.last_used_at is None or now - self.last_used_at > USE_INTERVAL:
            self.last_used_at = now
            self.save()


class LLMClientAPIKey(Timestamped):
    api_key = models.ForeignKey(SmarterAuthToken, on_delete=models.CASCADE)

    class Meta:
        db_table = "llm_client_llmclientapikey"
