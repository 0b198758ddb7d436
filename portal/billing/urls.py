"""Usage."""

from django.urls import path

from portal.billing import views

urlpatterns = [
    path("account/usage/", views.usage, name="usage"),
    path("account/usage/ledger.csv", views.ledger_csv, name="ledger_csv"),
]
