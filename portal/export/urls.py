"""Data sets, returns and their destinations."""

from django.urls import include, path, re_path

from portal.export import api, views
from portal.export.report import api as fhir

urlpatterns = [
    path("", include("portal.export.maps.urls")),
    re_path(r"^fhir/metadata/?$", fhir.Capabilities.as_view()),
    re_path(r"^fhir/DiagnosticReport/?$", fhir.DiagnosticReports.as_view()),
    re_path(r"^fhir/DiagnosticReport/(?P<report_id>\d{1,15})/?$", fhir.DiagnosticReportView.as_view()),
    path("api/v1/programmes/<slug:slug>/data-sets/", api.DataSets.as_view()),
    path("api/v1/programmes/<slug:slug>/data-sets/<uuid:data_set>/file/", api.DataSetFile.as_view()),
    path("cohorts/<int:pk>/data-sets/", views.cohort_data_set, name="cohort_data_set"),
    path("data-sets/", views.data_sets, name="data_sets"),
    path("programmes/<slug:slug>/data-sets/", views.ask, name="ask_data_set"),
    path("programmes/<slug:slug>/data-sets/<uuid:data_set>/", views.download, name="data_set"),
    path("returns/", views.returns, name="returns"),
    path("returns/retry/", views.returns_retry, name="returns_retry"),
    path("returns/<uuid:return_id>/retry/", views.return_retry, name="return_retry"),
    path("destinations/", views.destinations, name="destinations"),
    path("destinations/new/", views.destination_edit, name="destination_new"),
    path("destinations/<int:destination_id>/", views.destination_edit, name="destination_edit"),
    path("destinations/<int:destination_id>/test/", views.destination_test, name="destination_test"),
]
