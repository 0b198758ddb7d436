"""Addresses of the doors; STOW-RS shares its address with searches and is routed in portal.archive."""

from django.urls import path

from portal.ingest import api, report_api, report_views, views

urlpatterns = [
    path("ingest/", views.receipts, name="receipts"),
    path("ingest/quarantine/", views.quarantine, name="quarantine"),
    path("ingest/quarantine/decide/", views.quarantine_decide, name="quarantine_decide"),
    path("ingest/upload/", views.upload, name="upload"),
    path("ingest/reports/", report_views.reports, name="reports_in"),
    path("ingest/sources/", views.sources, name="sources"),
    path("ingest/sources/new/", views.source_edit, name="source_new"),
    path("ingest/sources/<int:pk>/", views.source_edit, name="source_edit"),
    path("ingest/rules/", views.header_rules, name="header_rules"),
    path("ingest/rules/new/", views.header_rule_edit, name="header_rule_new"),
    path("ingest/rules/<int:pk>/", views.header_rule_edit, name="header_rule_edit"),
    path("api/v1/receipts/", api.ReceiptList.as_view(), name="api_receipts"),
    path("api/v1/reports/", report_api.Reports.as_view(), name="api_reports"),
    path("api/v1/quarantine/", api.QuarantineList.as_view(), name="api_quarantine"),
    path("api/v1/quarantine/<uuid:pk>/retry/", api.QuarantineRetry.as_view(), name="api_quarantine_retry"),
    path("api/v1/quarantine/<uuid:pk>/discard/", api.QuarantineDiscard.as_view(), name="api_quarantine_discard"),
]
