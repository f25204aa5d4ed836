from django.urls import path

from inpainting.realtime.consumers import GenerationConsumer, OwnGenerationsConsumer

websocket_urlpatterns = [
    path("ws/generations/", OwnGenerationsConsumer.as_asgi()),
    path("ws/generations/<uuid:pk>/", GenerationConsumer.as_asgi()),
]
