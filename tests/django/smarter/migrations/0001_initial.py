"""Smarter's tables beside knox's, their columns in Smarter's order."""

import uuid

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

CASCADE = django.db.models.deletion.CASCADE


def timestamps():
    return [
        ("created_at", models.DateTimeField(auto_now_add=True, db_index=True)),
        ("updated_at", models.DateTimeField(auto_now=True, db_index=True)),
    ]


def id_and_timestamps():
    number = models.BigAutoField(
        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
    )
    return [("id", number), *timestamps()]


class Migration(migrations.Migration):
    initial = True
    dependencies = [
        ("knox", "0009_extend_authtoken_field"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]
    operations = [
        migrations.CreateModel(
            name="Account",
            fields=[
                *id_and_timestamps(),
                ("account_number", models.CharField(max_length=255, unique=True, null=True)),
                ("company_name", models.CharField(max_length=255, null=True)),
            ],
            options={"db_table": "account_account"},
        ),
        migrations.CreateModel(
            name="UserProfile",
            fields=[
                *id_and_timestamps(),
                ("user", models.ForeignKey(on_delete=CASCADE, to=settings.AUTH_USER_MODEL)),
                ("account", models.ForeignKey(on_delete=CASCADE, to="smarter.account")),
            ],
            options={"db_table": "account_userprofile"},
        ),
        migrations.AddConstraint(
            model_name="userprofile",
            constraint=models.UniqueConstraint(fields=("user", "account"), name="unique_user_account"),
        ),
        migrations.CreateModel(
            name="SmarterAuthToken",
            fields=[
                (
                    "authtoken_ptr",
                    models.OneToOneField(
                        auto_created=True,
                        on_delete=CASCADE,
                        parent_link=True,
                        primary_key=True,
                        serialize=False,
                        to="knox.authtoken",
                    ),
                ),
                *timestamps(),
                ("name", models.CharField(max_length=255)),
                ("description", models.TextField(blank=True, null=True)),
                ("version", models.CharField(blank=True, max_length=255, null=True)),
                ("annotations", models.JSONField(blank=True, default=list, null=True)),
                ("user_profile", models.ForeignKey(on_delete=CASCADE, to="smarter.userprofile")),
                ("key_id", models.UUIDField(default=uuid.uuid4, editable=False, unique=True)),
                ("last_used_at", models.DateTimeField(blank=True, null=True)),
                ("is_active", models.BooleanField(default=True)),
                ("tags", models.JSONField(default=list)),
            ],
            options={"db_table": "drf_smarterauthtoken"},
            bases=("knox.authtoken",),
        ),
        migrations.CreateModel(
            name="LLMClientAPIKey",
            fields=[
                *id_and_timestamps(),
                ("api_key", models.ForeignKey(on_delete=CASCADE, to="smarter.smarterauthtoken")),
            ],
            options={"db_table": "llm_client_llmclientapikey"},
        ),
    ]
