"""What programmes take from elsewhere; their pages are the home step's."""

from django.urls import path

from portal.programmes import views

urlpatterns = [
    path("cohorts/<int:pk>/cases/", views.cohort_cases, name="cohort_cases"),
    path("api/v1/cohorts/<int:pk>/cases/", views.CohortCases.as_view()),
]
