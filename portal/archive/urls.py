"""Scans: DICOMweb, REST and pages."""

from django.urls import path, re_path

from portal.archive import api, cleaning, dicomweb, identity, standardised, views
from portal.archive.cohorts import api as cohorts_api
from portal.archive.cohorts import views as cohorts
from portal.archive.foreign import views as foreign

S = r"^dicomweb/studies/(?P<study_uid>[0-9.]{1,64})"
SE = S + r"/series/(?P<series_uid>[0-9.]{1,64})"
I = SE + r"/instances/(?P<sop_uid>[0-9.]{1,64})"  # noqa: E741
F = I + r"/frames/(?P<numbers>\d{1,7}(?:,\d{1,7}){0,999})"

urlpatterns = [
    re_path(r"^dicomweb/?$", dicomweb.service),
    re_path(r"^dicomweb/studies/?$", dicomweb.studies),
    re_path(r"^dicomweb/series/?$", dicomweb.all_series),
    re_path(r"^dicomweb/instances/?$", dicomweb.all_instances),
    re_path(S + r"/?$", dicomweb.study),
    re_path(S + r"/series/?$", dicomweb.study_series),
    re_path(S + r"/instances/?$", dicomweb.study_instances),
    re_path(S + r"/metadata/?$", dicomweb.study_metadata),
    re_path(S + r"/thumbnail/?$", dicomweb.picture_of, {"thumbnail": True}, name="study_thumbnail"),
    re_path(S + r"/rendered/?$", dicomweb.picture_of),
    re_path(SE + r"/?$", dicomweb.instances),
    re_path(SE + r"/instances/?$", dicomweb.series_instances),
    re_path(SE + r"/metadata/?$", dicomweb.study_metadata),
    re_path(SE + r"/thumbnail/?$", dicomweb.picture_of, {"thumbnail": True}),
    re_path(SE + r"/rendered/?$", dicomweb.picture_of),
    re_path(I + r"/?$", dicomweb.instances),
    re_path(I + r"/metadata/?$", dicomweb.instance_metadata),
    re_path(I + r"/rendered/?$", dicomweb.rendered),
    re_path(I + r"/thumbnail/?$", dicomweb.rendered, {"thumbnail": True}, name="instance_thumbnail"),
    re_path(I + r"/bulkdata/(?P<place>[0-9A-Fa-f/]{1,200})$", dicomweb.bulkdata),
    re_path(F + r"/?$", dicomweb.frames),
    re_path(F + r"/rendered/?$", dicomweb.rendered),
    re_path(F + r"/thumbnail/?$", dicomweb.rendered, {"thumbnail": True}),
    path("dicomweb/wado", dicomweb.wado_uri),
    path("api/v1/studies/", api.StudyList.as_view()),
    path("api/v1/studies/<str:study_uid>/", api.StudyDetail.as_view()),
    path("api/v1/studies/<str:study_uid>/deidentification/", cleaning.StudyCleaning.as_view()),
    path("api/v1/studies/<str:study_uid>/layers/", foreign.Layers.as_view()),
    path("api/v1/studies/<str:study_uid>/layers/<str:sop_uid>/", foreign.LayerDetail.as_view()),
    path("api/v1/standardised/", standardised.Standardised.as_view()),
    path("api/v1/cohorts/", cohorts_api.CohortList.as_view()),
    path("api/v1/cohorts/<int:pk>/", cohorts_api.CohortDetail.as_view()),
    path("api/v1/cohorts/<int:pk>/freeze/", cohorts_api.CohortFreeze.as_view()),
    path("api/v1/cohorts/<int:pk>/members/", cohorts_api.CohortMembers.as_view()),
    path("cohorts/", cohorts.cohorts, name="cohorts"),
    path("cohorts/new/", cohorts.new, name="cohort_new"),
    path("cohorts/<int:pk>/", cohorts.detail, name="cohort"),
    path("cohorts/<int:pk>/edit/", cohorts.edit, name="cohort_edit"),
    path("cohorts/<int:pk>/freeze/", cohorts.freeze, name="cohort_freeze"),
    path("cohorts/<int:pk>/remove/", cohorts.remove, name="cohort_remove"),
    path("scans/standardised/", standardised.page, name="standardised"),
    path("scans/", views.scans, name="scans"),
    path("scans/<str:study_uid>/layers/", foreign.layers, name="scan_layers"),
    path("scans/<str:study_uid>/layers/<str:sop_uid>/", foreign.layer, name="scan_layer"),
    path("scans/<str:study_uid>/deidentification/", cleaning.scan_cleaning, name="scan_cleaning"),
    path("scans/<str:study_uid>/identity/", identity.ask, name="scan_identity"),
    path("scans/<str:study_uid>/", views.scan_detail, name="scan_detail"),
]
