"""Addresses of the review of pixels, of looks into the identity zone and of a site's own rules."""

from django.urls import path

from portal.deidentify import list_views, look_views, report_views, site_api, site_views, term_api
from portal.deidentify.pixels import views

urlpatterns = [
    path("pixels/", views.pixel_questions, name="pixel_questions"),
    path("pixels/decide/", views.pixel_decide, name="pixel_decide"),
    path("pixels/look/<uuid:pk>/", views.pixel_look, name="pixel_look"),
    path("lists/", list_views.lists, name="term_lists"),
    path("lists/change/", list_views.change, name="change_terms"),
    path("api/v1/term-changes/", term_api.TermChanges.as_view(), name="api_term_changes"),
    path("api/v1/term-changes/<uuid:pk>/", term_api.TermChangeDetail.as_view(), name="api_term_change"),
    path("looks/", look_views.past_looks, name="past_looks"),
    path("looks/<uuid:pk>/", look_views.zone_look, name="zone_look"),
    path("ingest/<uuid:pk>/deidentification/", report_views.receipt_report, name="receipt_report"),
    path("api/v1/receipts/<uuid:pk>/deidentification/", report_views.ReceiptReport.as_view()),
    path("site-rules/", site_views.versions, name="site_rules"),
    path("site-rules/new/", site_views.new, name="site_rules_new"),
    path("site-rules/<int:number>/", site_views.version, name="site_rules_version"),
    path("site-rules/<int:number>/script.xml", site_views.script, name="site_rules_script"),
    path("api/v1/site-rules/", site_api.SiteRulesList.as_view(), name="api_site_rules"),
    path("api/v1/site-rules/<int:number>/", site_api.SiteRulesDetail.as_view(), name="api_site_rules_version"),
]
