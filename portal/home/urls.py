"""Pages that belong to no one step."""

from django.urls import path

from portal.home import programme_views, views

urlpatterns = [
    path("", views.home, name="home"),
    path("palette/", views.palette, name="palette"),
    path("programmes/", programme_views.programmes, name="programmes"),
    path("programmes/<slug:slug>/", programme_views.programme_detail, name="programme_detail"),
    path("programmes/<slug:slug>/settings/", programme_views.programme_settings, name="programme_settings"),
    path("programmes/<slug:slug>/panel/", programme_views.panel_change, name="panel_change"),
    path("programmes/<slug:slug>/cases/priority/", programme_views.cases_priority, name="cases_priority"),
    path("programmes/<slug:slug>/cases/<int:number>/", programme_views.case_detail, name="case_detail"),
    path("healthz", views.healthz, name="healthz"),
    path("readyz", views.readyz, name="readyz"),
    path("metrics", views.metrics, name="metrics"),
]
