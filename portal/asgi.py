"""ASGI: HTTP by Django, live channel by Channels."""

import os
from typing import Any, cast

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
http = get_asgi_application()

from channels.auth import AuthMiddlewareStack  # noqa: E402
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from channels.security.websocket import AllowedHostsOriginValidator  # noqa: E402
from django.conf import settings  # noqa: E402
from django.urls import path, re_path  # noqa: E402

from portal.accounts.consumers import LiveConsumer  # noqa: E402
from portal.archive.fastpath import FastFrames  # noqa: E402
from portal.archive.fastsearch import FastSearch  # noqa: E402
from portal.core.body_limit import BodyLimit  # noqa: E402
from portal.read.workitems.channel import EventChannel  # noqa: E402

STRANGER_BYTES = 1024 * 1024  # a sign-in form, no more

sockets = AuthMiddlewareStack(
    URLRouter(
        [
            path("ws/live/", LiveConsumer.as_asgi()),
            re_path(r"^dicomweb/subscribers/(?P<aet>[^/]{1,64})/?$", EventChannel.as_asgi()),
        ]
    )
)
browsers = AllowedHostsOriginValidator(sockets)


async def websocket(scope: Any, receive: Any, send: Any) -> None:
    """Web sockets: of a browser only from this portal's own pages; of a program that shows a token from anywhere,
    since no page can make a browser send that header.
    """
    await (sockets if b"authorization" in dict(scope["headers"]) else browsers)(scope, receive, send)


application = ProtocolTypeRouter(
    {
        "http": BodyLimit(FastSearch(FastFrames(cast(Any, http))), settings.MAX_REQUEST_BYTES, STRANGER_BYTES),
        "websocket": websocket,
    }
)
