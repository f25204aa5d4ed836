from django.urls import path

from inpainting.realtime.consumers import GenerationConsumer

websocket_urlpatterns = [path("ws/generations/<uuid:pk>/", GenerationConsumer.as_asgi())]
