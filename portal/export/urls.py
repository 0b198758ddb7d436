"""Data sets."""

from django.urls import path

from portal.export import views

urlpatterns = [
    path("programmes/<slug:slug>/data-sets/", views.ask, name="ask_data_set"),
    path("programmes/<slug:slug>/data-sets/<uuid:data_set>/", views.download, name="data_set"),
]
