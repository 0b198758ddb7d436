"""Addresses of the input check."""

from django.urls import path

from portal.check import api, views

urlpatterns = [
    path("input-alerts/", views.input_alerts, name="input_alerts"),
    path("input-alerts/decide/", views.input_alerts_decide, name="input_alerts_decide"),
    path("input-alerts/<int:pk>/", views.input_alert, name="input_alert"),
    path("input-check/", views.input_check, name="input_check"),
    path("scans/<str:study_uid>/input-check/", views.study_input_check, name="study_input_check"),
    path("ingest/sources/<int:pk>/score/", views.source_score, name="source_score"),
    path("api/v1/input-alerts/", api.InputAlertList.as_view()),
    path("api/v1/input-alerts/<int:pk>/", api.InputAlert.as_view()),
    path("api/v1/input-alerts/<int:pk>/decide/", api.InputAlertDecide.as_view()),
    path("api/v1/studies/<str:study_uid>/input-check/", api.StudyInputCheck.as_view()),
]
