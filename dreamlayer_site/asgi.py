"""The ASGI application: HTTP and websockets."""

from __future__ import annotations

import os

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "dreamlayer_site.settings")
django.setup(set_prefix=False)  # before the imports below, which need the loaded apps

from channels.auth import AuthMiddlewareStack  # noqa: E402
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from channels.security.websocket import AllowedHostsOriginValidator  # noqa: E402

from accounts.websocket_auth import TicketAuthMiddleware  # noqa: E402
from dreamlayer_site.origins import SameOriginMiddleware  # noqa: E402
from dreamlayer_site.path_tokens import PathTokenMiddleware  # noqa: E402
from dreamlayer_site.request_context import RequestContextMiddleware, RoutingHandler  # noqa: E402
from dreamlayer_site.server.body_limit import BodyLimitMiddleware  # noqa: E402
from dreamlayer_site.server.later_responses import LaterResponseMiddleware  # noqa: E402
from inpainting.realtime.routing import websocket_urlpatterns  # noqa: E402

sockets = URLRouter(websocket_urlpatterns)
application = PathTokenMiddleware(
    ProtocolTypeRouter(
        {
            "http": RequestContextMiddleware(BodyLimitMiddleware(LaterResponseMiddleware(RoutingHandler()))),
            "websocket": SameOriginMiddleware(
                session_application=AllowedHostsOriginValidator(AuthMiddlewareStack(sockets)),
                ticket_application=TicketAuthMiddleware(sockets),
            ),
        }
    )
)
