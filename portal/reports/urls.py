"""Reports."""

from django.urls import path

from portal.reports import views

urlpatterns = [
    path("programmes/<slug:slug>/cases/<int:number>/report/", views.report, name="case_report"),
]
