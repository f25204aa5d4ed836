"""The only module of the product that opens outbound connections. Guards against server-side request forgery (SSRF)."""

from inpainting.net.addresses import Network, is_blocked
from inpainting.net.connecting import NetworkTransport
from inpainting.net.file_download import DownloadFailed, RemoteFile, open_remote_file
from inpainting.net.image_download import download_image
from inpainting.net.json_post import PostFailure, PostResponse, post_json
from inpainting.net.network_errors import Failure
from inpainting.net.outbound_policy import OutboundPolicy, site_policy
from inpainting.net.url_parsing import host_of, is_allowed_url

__all__ = [
    "DownloadFailed",
    "Failure",
    "Network",
    "NetworkTransport",
    "OutboundPolicy",
    "PostFailure",
    "PostResponse",
    "RemoteFile",
    "download_image",
    "host_of",
    "is_allowed_url",
    "is_blocked",
    "open_remote_file",
    "post_json",
    "site_policy",
]
