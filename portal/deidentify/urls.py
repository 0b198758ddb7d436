"""Addresses of the review of pixels."""

from django.urls import path

from portal.deidentify.pixels import views

urlpatterns = [
    path("pixels/", views.pixel_questions, name="pixel_questions"),
    path("pixels/decide/", views.pixel_decide, name="pixel_decide"),
    path("pixels/look/<uuid:pk>/", views.pixel_look, name="pixel_look"),
]
