"""Maps of runs."""

from django.urls import path

from portal.export.maps import api, views

urlpatterns = [
    path("runs/<uuid:run_id>/maps/", views.take, name="run_maps"),
    path("api/v1/runs/<uuid:run_id>/maps/", api.RunMaps.as_view()),
]
