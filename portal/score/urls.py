"""Scores."""

from django.urls import path

from portal.score import api, views

urlpatterns = [
    path("scores/", views.scores, name="scores"),
    path("api/v1/assignments/<uuid:assignment_id>/case/", api.AssignmentCase.as_view()),
    path("api/v1/programmes/<slug:slug>/cases/<int:number>/", api.ProgrammeCase.as_view()),
]
