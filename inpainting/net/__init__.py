"""The only door to the outside network: who may be called, for how long, and how much may come back."""

from inpainting.net.addresses import Network, refuses
from inpainting.net.connecting import Outside
from inpainting.net.failures import Failure
from inpainting.net.limits import Limits, site_limits
from inpainting.net.pictures import fetch_picture_bytes
from inpainting.net.posting import Answer, NotDelivered, post_json
from inpainting.net.urls import may_be_called

__all__ = [
    "Answer",
    "Failure",
    "Limits",
    "Network",
    "NotDelivered",
    "Outside",
    "fetch_picture_bytes",
    "may_be_called",
    "post_json",
    "refuses",
    "site_limits",
]
