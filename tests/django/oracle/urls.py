"""Where the site answers."""

from django.urls import include, path
from knox import views as knox

from oracle import views

urlpatterns = [
    path("open", views.Open.as_view()),
    path("whoami", views.WhoAmI.as_view()),
    path("login", knox.LoginView.as_view()),
    path("logout", knox.LogoutView.as_view()),
    path("logoutall", knox.LogoutAllView.as_view()),
    # The same behind a slash, as knox itself has them.
    path("", include("knox.urls")),
]
