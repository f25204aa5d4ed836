"""HTTP and websockets by one door."""

from __future__ import annotations

import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "dreamlayer_site.settings")
django_application = get_asgi_application()  # first: it loads the apps that the imports below need

from channels.auth import AuthMiddlewareStack  # noqa: E402
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from channels.security.websocket import AllowedHostsOriginValidator  # noqa: E402
from django.conf import settings  # noqa: E402

from accounts.sockets import TicketAuth  # noqa: E402
from dreamlayer_site.body_limit import BodyLimit  # noqa: E402
from dreamlayer_site.origins import SameOriginOnly  # noqa: E402
from inpainting.realtime.routing import websocket_urlpatterns  # noqa: E402

sockets = URLRouter(websocket_urlpatterns)
application = ProtocolTypeRouter(
    {
        "http": BodyLimit(django_application, max_bytes=settings.MAX_BODY_BYTES),
        "websocket": SameOriginOnly(
            by_session=AllowedHostsOriginValidator(AuthMiddlewareStack(sockets)), by_ticket=TicketAuth(sockets)
        ),
    }
)
