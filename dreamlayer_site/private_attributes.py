"""The private attributes of libraries that this program uses, each with the object that has it and the reason.

A release of a library may change them without notice. tests/test_private_attributes.py fails when one is gone, and when
the code uses one that is not listed here.
"""

from __future__ import annotations

from typing import NamedTuple


class Private(NamedTuple):
    """A private attribute of a library, and why it is used."""

    owner: str  # the class or module that has the attribute, as "module:name" or "module"
    name: str
    reason: str


_CHANNEL = "twisted.web.http:HTTPChannel"
_REQUEST = "rest_framework.request:Request"
_STORAGE = "storages.backends.s3:S3Storage"
_DIFFUSERS = "diffusers.pipelines.flux.pipeline_flux_fill:FluxFillPipeline"
_MODEL = "diffusers.models.modeling_utils:ModelMixin"
_MODULE = "torch.nn:Module"
PRIVATE_ATTRIBUTES = (
    Private(_CHANNEL, "_handlingRequest", "the time limit of a head begins when no request is being handled"),
    Private(_CHANNEL, "_dataBuffer", "whether the next request has begun while the last one was handled"),
    Private(_CHANNEL, "_abortingCall", "a client that reads nothing is disconnected once"),
    Private(_CHANNEL, "_networkProducer", "nothing is read while the sender of a request is checked"),
    Private(_CHANNEL, "_send100Continue", "a client is told to send its body when its sender is known"),
    Private(_CHANNEL, "_command", "the method of a request whose head is arriving"),
    Private(_CHANNEL, "_path", "the path and the query of that request"),
    Private("twisted.protocols.basic:LineReceiver", "_buffer", "whether a head has begun"),
    Private("asgiref.sync:SyncToAsync", "context_to_thread_executor", "the thread of a request is used again"),
    Private(_REQUEST, "_files", "the body is forgotten while a response waits"),
    Private(_REQUEST, "_data", "the same"),
    Private(_REQUEST, "_full_data", "the same"),
    Private(_REQUEST, "_request", "Django's request, whose body is forgotten too"),
    Private(
        "django.middleware.csrf:CsrfViewMiddleware", "_dont_enforce_csrf_checks", "a form has its token in the body"
    ),
    Private("django.http.request:HttpRequest", "_post", "the body is forgotten while a response waits"),
    Private("django.db.models.query:QuerySet", "_insert", "copy_database inserts rows as loaddata does"),
    Private("django.db.models.query:QuerySet", "_raw_delete", "copy_database replaces rows without cascades"),
    Private("django.db.models.manager:BaseManager", "_db", "a manager creates users in its own database"),
    Private("django.core.cache.backends.db:BaseDatabaseCache", "_table", "counters that have expired are deleted"),
    Private("django.core.management.base:OutputWrapper", "_out", "tqdm writes to the stream itself"),
    Private("channels_redis.pubsub:RedisPubSubChannelLayer", "_get_layer", "sending has a time limit"),
    Private("kombu.transport.virtual.base:Transport", "_deliver", "the embedded broker waits for messages"),
    Private("kombu.transport.memory:Channel", "_put", "the embedded broker tells who waits of a message"),
    Private("kombu.transport.memory:Channel", "_put_fanout", "the same"),
    Private(_STORAGE, "_create_session", "a session with time limits"),
    Private(_STORAGE, "_get_write_parameters", "uploads with a checksum"),
    Private(_STORAGE, "_normalize_name", "the name of an object in the bucket"),
    Private("botocore.response:StreamingBody", "_raw_stream", "reading what has arrived, without waiting for all"),
    Private("allauth.account.adapter:DefaultAccountAdapter", "_rollback_login_failed_rl_usage", "sign-in limits"),
    Private("diffusers.pipelines.pipeline_utils:DiffusionPipeline", "_exclude_from_cpu_offload", "offloading"),
    Private(_DIFFUSERS, "_unpack_latents", "tokens of FLUX.1 and Qwen-Image"),
    Private(_DIFFUSERS, "_prepare_latent_image_ids", "places of the tokens of FLUX.1"),
    Private("diffusers.loaders.unet:UNet2DConditionLoadersMixin", "_convert_ip_adapter_attn_to_diffusers", "loading"),
    Private(
        "diffusers.loaders.unet:UNet2DConditionLoadersMixin", "_convert_ip_adapter_image_proj_to_diffusers", "loading"
    ),
    Private("torch._dynamo.config", "recompile_limit", "the limit of compiled versions"),
    Private("torch", "_dynamo", "the same"),
    Private(
        "torch.fx.experimental.symbolic_shapes", "_config", "sizes that are equal by chance may differ in the next call"
    ),
    Private(_MODULE, "_parameters", "two networks that share their weights"),
    Private(_MODULE, "_buffers", "the same"),
    Private("accelerate.hooks", "_hf_hook", "the weights of a layer that are loaded while it computes"),
    Private(_MODEL, "_repeated_blocks", "the blocks of Stable Diffusion 3 are compiled"),
    Private(_MODEL, "_no_split_modules", "the names of those blocks"),
    Private("torch.compiler", "_inductor", "imported before garbage collection leaves imports out"),
    Private("huggingface_hub.utils", "_headers", "the headers of requests to the hub"),
)
