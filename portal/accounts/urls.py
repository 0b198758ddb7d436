"""Pages of the account."""

from django.urls import path

from portal.accounts import views

urlpatterns = [
    path("account/organisation/", views.switch_organisation, name="switch_organisation"),
    path("account/members/", views.members, name="members"),
    path("account/members/<int:pk>/", views.member_change, name="member_change"),
    path("account/tokens/", views.tokens, name="tokens"),
    path("account/tokens/<uuid:pk>/revoke/", views.token_revoke, name="token_revoke"),
    path("account/views/", views.view_save, name="view_save"),
    path("account/views/<int:pk>/remove/", views.view_remove, name="view_remove"),
]
