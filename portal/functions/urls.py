"""Pages of the registry."""

from django.urls import path

from portal.functions import views

urlpatterns = [
    path("functions/", views.functions, name="functions"),
    path("functions/<slug:slug>/", views.function_detail, name="function_detail"),
    path("functions/<slug:slug>/versions/<int:pk>/", views.move_version, name="move_version"),
]
