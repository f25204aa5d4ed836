"""The ASGI application: HTTP and websockets."""

from __future__ import annotations

import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "dreamlayer_site.settings")
django_application = get_asgi_application()  # before the imports below, which need the loaded apps

from channels.auth import AuthMiddlewareStack  # noqa: E402
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from channels.security.websocket import AllowedHostsOriginValidator  # noqa: E402

from accounts.websocket_auth import TicketAuthMiddleware  # noqa: E402
from dreamlayer_site.body_limit import BodyLimitMiddleware  # noqa: E402
from dreamlayer_site.later_responses import LaterResponseMiddleware  # noqa: E402
from dreamlayer_site.origins import SameOriginMiddleware  # noqa: E402
from inpainting.realtime.routing import websocket_urlpatterns  # noqa: E402

sockets = URLRouter(websocket_urlpatterns)
application = ProtocolTypeRouter(
    {
        "http": BodyLimitMiddleware(LaterResponseMiddleware(django_application)),
        "websocket": SameOriginMiddleware(
            session_application=AllowedHostsOriginValidator(AuthMiddlewareStack(sockets)),
            ticket_application=TicketAuthMiddleware(sockets),
        ),
    }
)
