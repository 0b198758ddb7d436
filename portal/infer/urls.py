"""Runs."""

from django.urls import path

from portal.infer import api, views

urlpatterns = [
    path("scans/<str:study_uid>/output/", views.study_output, name="study_output"),
    path("functions/<slug:slug>/runs/", views.function_runs, name="function_runs"),
    path("functions/<slug:slug>/runs/retry/", views.runs_retry, name="runs_retry"),
    path("api/v1/studies/<str:study_uid>/runs/", api.StudyRuns.as_view()),
    path("cohorts/<int:pk>/runs/", views.cohort_runs, name="cohort_runs"),
    path("api/v1/cohorts/<int:pk>/runs/", api.CohortRuns.as_view()),
    path("api/v1/runs/<uuid:run_id>/", api.RunDetail.as_view()),
    path("api/v1/runs/<uuid:run_id>/retry/", api.RunRetry.as_view()),
    path("api/v1/runs/<uuid:run_id>/cancel/", api.RunCancel.as_view()),
    path("api/v1/runs/<uuid:run_id>/matrix/<str:sop_uid>/", api.RunMatrix.as_view()),
]
