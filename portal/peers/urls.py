"""Addresses of the peers' pages."""

from django.urls import path

from portal.peers import query_views, routing_views, views
from portal.peers.messages import views as message_views

urlpatterns = [
    path("peers/", views.peers, name="peers"),
    path("peers/new/", views.peer_edit, name="peer_new"),
    path("peers/<int:pk>/", views.peer_edit, name="peer_edit"),
    path("peers/<int:pk>/echo/", views.peer_echo, name="peer_echo"),
    path("peers/<int:pk>/query/", query_views.query_peer, name="query_peer"),
    path("peers/queries/<uuid:pk>/", query_views.peer_query, name="peer_query"),
    path("peers/queries/<uuid:pk>/fetch/", query_views.query_fetch, name="query_fetch"),
    path("peers/fetches/", views.fetches, name="fetches"),
    path("peers/fetches/<uuid:pk>/", views.fetch_decide, name="fetch_decide"),
    path("peers/standing/", views.standing, name="standing_queries"),
    path("peers/standing/new/", views.standing_edit, name="standing_new"),
    path("peers/standing/<int:pk>/", views.standing_edit, name="standing_edit"),
    path("peers/standing/<int:pk>/run/", views.standing_run, name="standing_run"),
    path("peers/routing/", routing_views.routing, name="routing_rules"),
    path("peers/routing/new/", routing_views.rule_edit, name="routing_new"),
    path("peers/routing/<int:pk>/", routing_views.rule_edit, name="routing_edit"),
    path("peers/deliveries/<uuid:pk>/retry/", routing_views.delivery_retry, name="delivery_retry"),
    path("peers/hl7/", message_views.senders, name="message_senders"),
    path("peers/hl7/new/", message_views.sender_edit, name="message_sender_new"),
    path("peers/hl7/<int:pk>/", message_views.sender_edit, name="message_sender_edit"),
    path("peers/throughput/", views.throughput, name="throughput"),
]
