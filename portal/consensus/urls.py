"""Consensus."""

from django.urls import path

from portal.consensus import api

CASE = "api/v1/programmes/<slug:slug>/cases/<int:number>"

urlpatterns = [
    path(f"{CASE}/consensus/", api.ConsensusPreview.as_view()),
    path(f"{CASE}/truth/", api.CaseTruth.as_view()),
    path("api/v1/programmes/<slug:slug>/agreement/", api.Agreement.as_view()),
]
