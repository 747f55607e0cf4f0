"""Smarter's authentication: knox's, and then the key's own flag."""

from knox.auth import TokenAuthentication
from rest_framework.exceptions import AuthenticationFailed

from smarter.models import SmarterAuthToken


class SmarterTokenAuthentication(TokenAuthentication):
    def authenticate_credentials(self, token):
        user, found = super().authenticate_credentials(token)
        # By its first characters, as Smarter does: a key without a row of Smarter's, or one of two keys
        # that begin alike, is an error and no refusal.
        key = SmarterAuthToken.objects.get(token_key=found.token_key)
        if not key.is_active:
            # In the words that Smarter means to say; there, saying them fails.
            raise AuthenticationFailed("Api key is not activated.")
        return user, key
