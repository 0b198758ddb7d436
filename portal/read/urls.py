"""The reading room and the worklist."""

from django.urls import path, re_path

from portal.read import api, views
from portal.read.workitems import subscription_views as subscriptions
from portal.read.workitems import views as workitems

W = r"^dicomweb/workitems/(?P<uid>[0-9.]{1,64})"
AET = r"/subscribers/(?P<aet>[^/]{1,64})"

urlpatterns = [
    re_path(r"^dicomweb/workitems/?$", workitems.worklist),
    re_path(W + r"/?$", workitems.workitem),
    re_path(W + r"/state/?$", workitems.state),
    re_path(W + r"/cancelrequest/?$", workitems.cancel_request),
    re_path(W + AET + r"/?$", subscriptions.subscriber),
    re_path(W + AET + r"/suspend/?$", subscriptions.suspend),
    re_path(rf"^dicomweb{AET}/?$", subscriptions.channel),
    path("worklist/", views.worklist, name="worklist"),
    path("worklist/next/", views.next_case, name="next_case"),
    path("read/<uuid:assignment>/", views.read, name="read"),
    path("view/<str:study_uid>/", views.view_study, name="view_study"),
    path("api/v1/worklist/", api.Worklist.as_view()),
    path("api/v1/worklist/claim/", api.Claim.as_view()),
    path("api/v1/assignments/<uuid:assignment_id>/", api.AssignmentBundle.as_view()),
    path("api/v1/assignments/<uuid:assignment_id>/draft/", api.Draft.as_view()),
    path("api/v1/assignments/<uuid:assignment_id>/submit/", api.Submit.as_view()),
    path("api/v1/assignments/<uuid:assignment_id>/reveal/", api.Reveal.as_view()),
    path("api/v1/assignments/<uuid:assignment_id>/release/", api.Release.as_view()),
    path("api/v1/studies/<str:study_uid>/bundle/", api.StudyBundle.as_view()),
]
