"""What the site answers, beside knox's own views."""

from django.conf import settings
from knox.auth import TokenAuthentication
from rest_framework.permissions import AllowAny, IsAuthenticated
from rest_framework.response import Response
from rest_framework.views import APIView

if settings.SCHEMA == "smarter":
    from smarter.authentication import SmarterTokenAuthentication as Authentication
else:
    Authentication = TokenAuthentication


class Open(APIView):
    """Behind nothing: what a request costs without authentication."""

    authentication_classes = []
    permission_classes = [AllowAny]

    def get(self, request):
        return Response({"user": None})


class WhoAmI(APIView):
    """Behind knox's authentication, or Smarter's."""

    authentication_classes = [Authentication]
    permission_classes = [IsAuthenticated]

    def get(self, request):
        return Response({"user": request.user.get_username()})
