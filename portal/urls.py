"""All addresses; each step brings its own."""

from allauth.account.decorators import secure_admin_login
from django.contrib import admin
from django.urls import include, path
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerView

# the admin's own form knows neither the second factor nor the limits of the portal's sign-in
admin.site.login = secure_admin_login(admin.site.login)  # type: ignore[method-assign]

handler400 = "portal.home.views.error_400"
handler403 = "portal.home.views.error_404"  # forbidden and missing look the same
handler404 = "portal.home.views.error_404"
handler500 = "portal.home.views.error_500"

STEPS = [
    "accounts",
    "ingest",
    "deidentify",
    "archive",
    "functions",
    "peers",
    "check",
    "infer",
    "programmes",
    "read",
    "second_read",
    "consensus",
    "score",
    "reports",
    "export",
    "billing",
]

urlpatterns = [
    path("", include("portal.home.urls")),
    path("accounts/", include("allauth.urls")),
    path("admin/", admin.site.urls),
    path("api/schema/", SpectacularAPIView.as_view(), name="schema"),
    path("api/docs/", SpectacularSwaggerView.as_view(url_name="schema"), name="api_docs"),
    *[path("", include(f"portal.{step}.urls")) for step in STEPS],
]
