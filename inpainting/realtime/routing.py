from django.urls import path

from inpainting.realtime.consumers import AllMineConsumer, GenerationConsumer

websocket_urlpatterns = [
    path("ws/generations/", AllMineConsumer.as_asgi()),
    path("ws/generations/<uuid:pk>/", GenerationConsumer.as_asgi()),
]
