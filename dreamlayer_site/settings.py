"""All settings. Values come from DREAMLAYER_* environment variables or `.env`; every variable has a default.

`env.secret` also reads the file that a variable with `_FILE` after its name names.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from ipaddress import ip_network
from pathlib import Path

from csp.constants import NONCE, NONE, SELF

from dreamlayer_site.environment import Environment
from dreamlayer_site.former_variables import refuse_former
from dreamlayer_site.hosts import own_hosts
from dreamlayer_site.log_filters import is_not_logged_yet, remove_traceback
from dreamlayer_site.private_folder import make_private
from dreamlayer_site.secret_key import load_or_create_secret_key
from dreamlayer_site.service_urls import (
    EMBEDDED_BROKER,
    broker_settings,
    channel_layer_settings,
    database_settings,
    storage_settings,
)

BASE_DIR = Path(__file__).resolve().parent.parent
env = Environment()
env.read_env(BASE_DIR / ".env")
refuse_former(os.environ)

# All data of this installation: database, images, secret key. Only its owner may read it, whatever the umask is.
USERS_UMASK = os.umask(0o077)
DATA_DIR = Path(env.str("DREAMLAYER_DATA_DIR", str(BASE_DIR / "var"))).absolute()
make_private(DATA_DIR)
# Bodies of requests, and the files in them, while they arrive and are read. Its free space is watched.
FILE_UPLOAD_TEMP_DIR = DATA_DIR / "tmp"
with suppress(OSError):  # Django's checks report it where it is missing.
    make_private(FILE_UPLOAD_TEMP_DIR)

DEBUG = env.bool("DREAMLAYER_DEBUG", False)
SECRET_KEY = env.secret("DREAMLAYER_SECRET_KEY", "")
HAS_OWN_SECRET_KEY = bool(SECRET_KEY)
SECRET_KEY = SECRET_KEY or load_or_create_secret_key(DATA_DIR)

# `serve` sets DREAMLAYER_BIND_HOST: on all interfaces, the machine's own names and addresses are allowed hosts.
BIND_HOST = env.str("DREAMLAYER_BIND_HOST", "127.0.0.1")
ALLOWED_HOSTS = env.list("DREAMLAYER_ALLOWED_HOSTS", default=own_hosts(BIND_HOST))
# The address in mail, such as https://paint.example.org; without it, the request's host and the port of this process.
SITE_URL = env.str("DREAMLAYER_SITE_URL", "").rstrip("/")
CSRF_TRUSTED_ORIGINS = env.list("DREAMLAYER_TRUSTED_ORIGINS", default=[])

# Pages of these origins may call the APIs with an API key. Cookies are never accepted from other origins.
CORS_ALLOWED_ORIGINS = env.list("DREAMLAYER_CORS_ORIGINS", default=[])
CORS_ALLOW_METHODS = ["DELETE", "GET", "OPTIONS", "PATCH", "POST"]
CORS_ALLOW_HEADERS = [
    *("accept", "authorization", "content-type", "idempotency-key", "if-none-match", "if-range", "prefer", "range"),
    *("key", "mcp-method", "mcp-name", "mcp-protocol-version", "x-api-key", "x-application-name", "x-request-id"),
    "x-requested-with",
]
CORS_EXPOSE_HEADERS = [
    *("accept-ranges", "content-disposition", "content-range", "etag", "location", "preference-applied"),
    *("retry-after", "x-dreamlayer-engine", "x-dreamlayer-ignored", "x-dreamlayer-model", "x-request-id", "x-seed"),
]

# API requests without a key act as one local user: "" (never), "on" (from this machine only) or "force" (always).
ANONYMOUS_API = env.str("DREAMLAYER_ANONYMOUS_API", "").lower()
if ANONYMOUS_API != "force":
    ANONYMOUS_API = "on" if env.bool("DREAMLAYER_ANONYMOUS_API", False) else ""

# Behind a proxy that terminates TLS, sets X-Forwarded-Proto and appends the client to X-Forwarded-For.
BEHIND_TLS = env.bool("DREAMLAYER_BEHIND_TLS", False)
if BEHIND_TLS:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    SECURE_HSTS_SECONDS = 31_536_000
    SECURE_HSTS_INCLUDE_SUBDOMAINS = True
    SECURE_HSTS_PRELOAD = True
    SECURE_SSL_REDIRECT = True
    SECURE_REDIRECT_EXEMPT = ["^livez$", "^readyz$", "^metrics$"]  # internal health checks have no TLS
    ALLAUTH_TRUSTED_PROXY_COUNT = 1
    # Browsers accept cookies with this prefix only over TLS, without Domain attribute and with Path=/.
    SESSION_COOKIE_NAME, CSRF_COOKIE_NAME = "__Host-sessionid", "__Host-csrftoken"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = BEHIND_TLS
SESSION_COOKIE_HTTPONLY = CSRF_COOKIE_HTTPONLY = True
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_CROSS_ORIGIN_OPENER_POLICY = "same-origin"
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"

# Pages may load this site's own files and the images and workers that they create. The only inline script is the import
# map, which has the response's nonce. Old versions of Safari do not match websockets with 'self'.
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [SELF],
        "img-src": [SELF, "blob:", "data:"],
        "script-src": [SELF, NONCE],
        "style-src": [SELF],
        "connect-src": [SELF, "ws:", "wss:"],
        "worker-src": [SELF, "blob:"],
        "object-src": [NONE],
        "base-uri": [NONE],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
    }
}

INSTALLED_APPS = [
    # Its `runserver` serves websockets too. Other commands start sooner without this import of Twisted.
    *(["daphne"] if sys.argv[1:2] == ["runserver"] else []),
    "dreamlayer_site.admin_app.DreamLayerAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "allauth.usersessions",
    "channels",
    "corsheaders",
    "csp",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "accounts",
    "inpainting",
    "dreamlayer_site",
]

MIDDLEWARE = [
    "dreamlayer_site.server.download_limit.download_limit",
    "django.middleware.security.SecurityMiddleware",
    "dreamlayer_site.headers.PageHeaders",
    "dreamlayer_site.headers.CompressedPages",
    "dreamlayer_site.headers.ApiCors",
    "dreamlayer_site.health.monitoring",
    "servestatic.middleware.ServeStaticMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "dreamlayer_site.language.LanguageMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "accounts.middleware.SessionActivityMiddleware",
    "accounts.middleware.AccountPagesMiddleware",
]

ROOT_URLCONF = "dreamlayer_site.urls"
ASGI_APPLICATION = "dreamlayer_site.asgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "accounts.context_processors.email_delivery",
            ]
        },
    }
]

# Which part of the work this process does, and the queues that it works on. `serve` sets both.
ROLE = env.str("DREAMLAYER_ROLE", "all")
QUEUES = env.list("DREAMLAYER_QUEUES", default=["cpu", "gpu", "hooks"])
# The random part of the names of the processes that one parent starts one after the other; `serve` sets it.
PARENT = env.str("DREAMLAYER_PARENT", "")
# With --devices: the device of this process, and the number of processes that share the machine's memory.
DEVICE_NAME = env.str("DREAMLAYER_DEVICE_NAME", "")
DEVICE_COUNT = env.int("DREAMLAYER_DEVICE_COUNT", 1)

# Workers: threads of the serving process. WORKERS is the number for the CPU queue.
WORKERS = env.int("DREAMLAYER_WORKERS", max(1, (os.cpu_count() or 2) // 2))
# The diffusion engine: generations that run concurrently and share denoising steps.
DIFFUSION_AT_ONCE = env.int("DREAMLAYER_DIFFUSION_AT_ONCE", 16)

# Each generation that runs holds one connection to PostgreSQL; webhooks, pages and requests share the rest.
DATABASE_URL = env.secret("DREAMLAYER_DATABASE_URL", "") or f"sqlite:///{DATA_DIR / 'dreamlayer.sqlite3'}"
DATABASE_CONNECTIONS = env.int("DREAMLAYER_DATABASE_CONNECTIONS", WORKERS + DIFFUSION_AT_ONCE + 12)
DATABASES = {"default": database_settings(DATABASE_URL, connections=DATABASE_CONNECTIONS)}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# With less free space on a disk, or a tenth of a small one, requests are refused and /readyz answers 503.
FREE_SPACE_MB = env.int("DREAMLAYER_FREE_SPACE_MB", 256)

# Counters of rate limits and used codes: in the memory of the one process of SQLite, else in a table that all web
# processes share. With the default of 300 entries, requests for other addresses would remove the counter of one account
# in seconds.
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.db.DatabaseCache",
        "LOCATION": "dreamlayer_cache",
        "OPTIONS": {"MAX_ENTRIES": 200_000},
    }
    if DATABASES["default"]["ENGINE"] == "django.db.backends.postgresql"
    else {
        "BACKEND": "django.core.cache.backends.locmem.LocMemCache",
        "OPTIONS": {"MAX_ENTRIES": 200_000},
    }
}

# Images: private files with random names. The views check the owner; no server exposes this folder or bucket.
STORAGE_URL = env.secret("DREAMLAYER_STORAGE_URL", "")
# web: this process. nginx: it reads the files, after the view has checked the request. bucket: signed links redirect.
IMAGES_SENT_BY = env.str("DREAMLAYER_IMAGES_SENT_BY", "web")
STORAGES = {
    "default": storage_settings(
        STORAGE_URL, default_folder=DATA_DIR / "pictures", group_reads=IMAGES_SENT_BY == "nginx"
    ),
    "staticfiles": {
        "BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"
        if DEBUG
        else "dreamlayer_site.server.static_files.StaticFilesStorage"
    },
}

# Content Credentials (C2PA) in downloads, signed with a key of this site, or with the key and the certificates of a PEM
# file.
CONTENT_CREDENTIALS = env.bool("DREAMLAYER_CONTENT_CREDENTIALS", True)
CONTENT_CREDENTIALS_PEM = env.str("DREAMLAYER_CONTENT_CREDENTIALS_PEM", "")
# A server of RFC 3161 that adds to each signature when it was made. It gets a hash of the signature.
CONTENT_CREDENTIALS_TIMESTAMP_URL = env.secret("DREAMLAYER_CONTENT_CREDENTIALS_TIMESTAMP_URL", "")

# Models: one folder each, created by pull_model and add_model. Only pull_model connects to the hub, and no process
# executes code from a model repository.
MODELS_DIR = Path(env.str("DREAMLAYER_MODELS", str(DATA_DIR / "models"))).absolute()
os.environ["HF_HUB_OFFLINE"] = os.environ["DIFFUSERS_DISABLE_REMOTE_CODE"] = "1"

STATIC_URL = "/static/"
STATIC_ROOT = DATA_DIR / "static"
STATICFILES_DIRS = [BASE_DIR / "static"]
# `serve` collects the files when it starts. With DEBUG they are read from the source folders, under their own names.
SERVESTATIC_USE_FINDERS = SERVESTATIC_AUTOREFRESH = DEBUG
SERVESTATIC_SKIP_COMPRESS_EXTENSIONS = ["eot", "map", "png", "svgz", "ttf", "webp", "woff", "woff2"]

# Larger images are refused; see inpainting/image_limits.py for what follows from these.
MAX_MEGAPIXELS = env.float("DREAMLAYER_MAX_MEGAPIXELS", 40)
MAX_SIDE = env.int("DREAMLAYER_MAX_SIDE", 8192)
MAX_IMAGE_MB = env.int("DREAMLAYER_MAX_IMAGE_MB", 32)

# Larger request bodies are refused while they arrive. JSON and urlencoded forms are parsed in memory. Files and forms
# that hold files are written to disk; beside the largest image, a form may hold as much as beside one of 32 MB.
MAX_BODY_BYTES = 64 * 2**20
MAX_FILE_BODY_BYTES = MAX_BODY_BYTES + max(0, MAX_IMAGE_MB - 32) * 2**20
MAX_BODY_BYTES_WITHOUT_IMAGES = 64 * 2**10
# Bodies on disk that were not read yet, in one process: all of them. One address may take half of it.
UNREAD_BODY_BYTES = max(2**30, 4 * MAX_FILE_BODY_BYTES)
DATA_UPLOAD_MAX_MEMORY_SIZE = MAX_BODY_BYTES
FILE_UPLOAD_MAX_MEMORY_SIZE = 4 * 2**20
# High enough that a batch slightly over the limit gets a precise error; more parts are not parsed at all.
BATCH_MAX_ITEMS = 100
DATA_UPLOAD_MAX_NUMBER_FIELDS = DATA_UPLOAD_MAX_NUMBER_FILES = 200 + 3 * BATCH_MAX_ITEMS

# Connections of one process: all of them, and those of one address. Both are lower where the process may open fewer
# files; a few more are accepted, for health checks. Behind a proxy, the connections that handle a request are counted.
CONNECTIONS = env.int("DREAMLAYER_CONNECTIONS", 8000)
CONNECTIONS_PER_ADDRESS = env.int("DREAMLAYER_CONNECTIONS_PER_ADDRESS", 1500)
# How long the head of a request may take, how long its body may arrive at any speed, and its average speed after that.
REQUEST_HEAD_SECONDS = 30
REQUEST_BODY_SECONDS = 30
REQUEST_BODY_BYTES_PER_SECOND = 32 * 1024
# A client that takes nothing of its response for this long is disconnected.
SEND_SECONDS = 60
# Images and archives that one address may receive at the same time from one process. More have to wait.
DOWNLOADS_PER_ADDRESS = 32
DOWNLOAD_WAIT_SECONDS = 10

# Accounts
AUTH_USER_MODEL = "accounts.User"
AUTHENTICATION_BACKENDS = ["allauth.account.auth_backends.AuthenticationBackend"]
PASSWORD_HASHERS = [
    "accounts.hashers.LimitedArgon2PasswordHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
LOGIN_REDIRECT_URL = "editor"
LOGIN_URL = "account_login"
EMAIL_URL = env.secret("DREAMLAYER_EMAIL_URL", "")
if EMAIL_URL:
    vars().update(env.email_url_config(EMAIL_URL))
else:
    EMAIL_BACKEND = "django.core.mail.backends.console.EmailBackend"
DEFAULT_FROM_EMAIL = env.str("DREAMLAYER_FROM_EMAIL", "DreamLayer <dreamlayer@localhost>")
ACCOUNT_ADAPTER = "accounts.adapter.AccountAdapter"
ACCOUNT_FORMS = {
    "login": "accounts.forms.SignInForm",
    "reset_password": "accounts.forms.PasswordResetForm",  # nosec B105 - no password
    "signup": "accounts.forms.SignUpForm",
}
ACCOUNT_LOGIN_METHODS = {"email"}
ACCOUNT_SIGNUP_FIELDS = ["email*", "password1*"]  # asked once: a button shows it
ACCOUNT_USER_MODEL_USERNAME_FIELD = None
ACCOUNT_UNIQUE_EMAIL = True
ACCOUNT_EMAIL_VERIFICATION = "mandatory" if EMAIL_URL else "none"  # verification needs e-mail
ACCOUNT_EMAIL_SUBJECT_PREFIX = "[DreamLayer] "
ACCOUNT_EMAIL_NOTIFICATIONS = bool(EMAIL_URL)  # of a changed password and of added and removed factors
ACCOUNT_REAUTHENTICATION_REQUIRED = True  # to change the addresses: password or second factor, at most 5 minutes ago
SIGNUP_OPEN = env.bool("DREAMLAYER_SIGNUP", True)
# Whether the first page lets visitors erase from one sample photo, and how often from one network address.
SAMPLE = env.bool("DREAMLAYER_SAMPLE", True)
ACCOUNT_RATE_LIMITS = {"sample": "20/m/ip"}
# A code is valid for one period of 30 seconds; allauth keeps used codes for one period too, so a tolerance would let
# them be used again.
MFA_ADAPTER = "accounts.mfa.MfaAdapter"
MFA_FORMS = {
    "add_webauthn": "accounts.mfa.AddWebAuthnForm",
    "authenticate_webauthn": "accounts.mfa.AuthenticateWebAuthnForm",
    "login_webauthn": "accounts.mfa.LoginWebAuthnForm",
    "reauthenticate_webauthn": "accounts.mfa.ReauthenticateWebAuthnForm",
}
MFA_SUPPORTED_TYPES = ["totp", "webauthn", "recovery_codes"]
MFA_TOTP_ISSUER = "DreamLayer"
MFA_TOTP_TOLERANCE = 0
MFA_PASSKEY_LOGIN_ENABLED = True
# Without e-mail no address can be verified. With it, sign-in requires that anyway.
MFA_ALLOW_UNVERIFIED_EMAIL = not EMAIL_URL
USERSESSIONS_ADAPTER = "accounts.sessions.UserSessionsAdapter"
USERSESSIONS_TRACK_ACTIVITY = True  # the list has a column with the time; see accounts.middleware

# API
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "inpainting.api.authentication.DialectKeyAuthentication",
        "rest_framework.authentication.SessionAuthentication",
        "accounts.authentication.LocalAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated", "accounts.permissions.HasScope"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "inpainting.api.error_handlers.exception_handler",
    "UNAUTHENTICATED_USER": "django.contrib.auth.models.AnonymousUser",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "DreamLayer",
    "VERSION": "1",
    "OAS_VERSION": "3.1.0",
    "DESCRIPTION": "Repaint parts of an image.",
    "SERVE_INCLUDE_SCHEMA": False,
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "SCHEMA_PATH_PREFIX": "/api",
    "PREPROCESSING_HOOKS": ["inpainting.api.openapi.drop_duplicate_paths"],
    "POSTPROCESSING_HOOKS": [],
    "APPEND_COMPONENTS": {
        "securitySchemes": {
            "bearerKey": {"type": "http", "scheme": "bearer"},
            "headerKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
            "session": {"type": "apiKey", "in": "cookie", "name": "sessionid"},
        }
    },
}
RESULT_LINK_HOURS = env.int("DREAMLAYER_RESULT_LINK_HOURS", 24)
# How long the ModelsLab API waits for a result before it answers `processing`. Its clients give up after 60 seconds.
MODELSLAB_WAIT_SECONDS = 25.0

PATH_TOKEN_SERVICES = {  # compatible APIs with clients that have no place for a key -> how pages call them
    "automatic1111": "AUTOMATIC1111",
    "iopaint": "IOPaint",
    "sd-inpaint": "SD Inpainting API",
}

SERVICE_WEBHOOK_BODY = "inpainting.api.dialects.webhook_body"  # what webhooks.py, below the API, calls
# Outbound requests (image URLs, webhooks) reach only public addresses on ports 80 and 443, and these exceptions.
ALLOWED_NETWORKS = [ip_network(text) for text in env.list("DREAMLAYER_ALLOWED_NETWORKS", default=[])]
ALLOWED_PORTS = [int(text) for text in env.list("DREAMLAYER_ALLOWED_PORTS", default=[])]
# Concurrent downloads of image URLs per user and web process. Each occupies a thread for up to 15 seconds.
FETCHES_PER_USER = 4
# Concurrent selections of objects (POST /api/masks/) per user and web process. Each computes for up to a few seconds.
SEGMENTATIONS_PER_USER = 2

# The broker. Its messages only make workers read the database; the embedded one is in the memory of the process.
BROKER_URL = env.secret("DREAMLAYER_BROKER_URL", "")
CELERY_BROKER_URL = BROKER_URL or EMBEDDED_BROKER
# Whether no other process works on this database: `serve` then requeues at its start what the last run has left.
IS_ALONE = ROLE == "all" and not BROKER_URL
vars().update({f"CELERY_{name}": value for name, value in broker_settings(CELERY_BROKER_URL).items()})
CELERY_TASK_IGNORE_RESULT = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_HIJACK_ROOT_LOGGER = False

# The diffusion engine. ROWS: samples per UNet call; 0 measures which batch size is fastest, 1 makes results
# reproducible bit for bit.
DIFFUSION_ROWS = env.int("DREAMLAYER_DIFFUSION_ROWS", 0)
DIFFUSION_DEVICE = env.str("DREAMLAYER_DIFFUSION_DEVICE", "auto")  # cpu, cuda, cuda:1, mps
DIFFUSION_PRECISION = env.str("DREAMLAYER_DIFFUSION_PRECISION", "auto")  # float32, float16, bfloat16
DIFFUSION_QUANTIZATION = env.str("DREAMLAYER_DIFFUSION_QUANTIZATION", "off")  # one of QUANTIZATIONS
DIFFUSION_COMPILE = env.str("DREAMLAYER_DIFFUSION_COMPILE", "auto")  # off, blocks: by torch.compile
DIFFUSION_MEMORY_MB = env.int("DREAMLAYER_DIFFUSION_MEMORY_MB", 0)  # for weights; 0: most of the device's memory
DIFFUSION_OPENVINO = env.str("DREAMLAYER_DIFFUSION_OPENVINO", "auto")  # off: the CPU uses torch only
DIFFUSION_WARM_UP = env.str("DREAMLAYER_DIFFUSION_WARM_UP", "")  # model to load at startup
LOAD_SD_INPAINT = env.bool("LOAD_SD_INPAINT", False)  # at startup load the model of the SD Inpainting API

# What happens to results that the safety checker flags: off, blur, pixelate, black or sensitive_content_text. Requests
# can make it stricter, never weaker.
SAFETY_CHECKER = env.str("DREAMLAYER_SAFETY_CHECKER", "off")

# Pixels to repaint in one request, in millions, all its images together. 40 is the largest image, once.
MAX_PAINT_MEGAPIXELS = env.float("DREAMLAYER_MAX_PAINT_MEGAPIXELS", 40)
# Whether the compatible APIs answer 503 instead of painting with another engine while no diffusion model is installed.
COMPAT_REQUIRE_DIFFUSION = env.bool("DREAMLAYER_COMPAT_REQUIRE_DIFFUSION", False)
# Names of compatible APIs in which the server chooses the model for names that no model has, instead of refusing them.
COMPAT_ANY_MODEL = env.list("DREAMLAYER_COMPAT_ANY_MODEL", default=[])
# Of FooocusAPI: whether generate_mask uses the built-in segmenter where the requested model is not installed.
FOOOCUS_BUILT_IN_MASKS = env.bool("DREAMLAYER_FOOOCUS_BUILT_IN_MASKS", False)
# Of FooocusAPI: called for requests without webhook_url; and whether the message is a JSON text that contains JSON.
FOOOCUS_WEBHOOK_URL = env.secret("DREAMLAYER_FOOOCUS_WEBHOOK_URL", "")
FOOOCUS_WEBHOOK_AS_TEXT = env.bool("DREAMLAYER_FOOOCUS_WEBHOOK_AS_TEXT", False)

# Of IOPaint: the folder of its web app, which /iopaint/ shows. Its scripts act with the session of whoever opens it.
IOPAINT_APP = env.str("DREAMLAYER_IOPAINT_APP", "")

# Whether result files contain the prompt, the settings and the seed, as text of the PNG.
EMBED_SETTINGS = env.bool("DREAMLAYER_EMBED_SETTINGS", True)

# A worker holds a running generation for this long after its last progress.
LEASE_SECONDS = env.float("DREAMLAYER_LEASE_SECONDS", 30)
# How long a stopping process may finish its running generations; then it returns them to the queue.
DRAIN_SECONDS = env.float("DREAMLAYER_DRAIN_SECONDS", 0)

# How often the authorization of open websockets is checked, and the number of sockets per user and process.
LIVE_RECHECK_SECONDS = 60
LIVE_SOCKETS_PER_USER = 50

CHANNEL_URL = env.secret("DREAMLAYER_CHANNEL_URL", "")
CHANNEL_LAYERS = {"default": channel_layer_settings(CHANNEL_URL)}

USE_TZ = True
TIME_ZONE = env.str("DREAMLAYER_TIME_ZONE", "UTC")
# The language of logs, webhooks, the audit log and the compatible APIs. Pages follow the account, the cookie, then the
# browser, among LANGUAGES: those whose catalogs in LOCALE_PATHS are complete.
LANGUAGE_CODE = "en"
LANGUAGES = [
    ("en", "English"),
    ("de", "Deutsch"),
    ("es", "Español"),
    ("fr", "Français"),
    ("pt-br", "Português (Brasil)"),
    ("ar", "العربية"),
    ("ja", "日本語"),
    ("zh-hans", "简体中文"),
]
LOCALE_PATHS = [BASE_DIR / "locale"]
LANGUAGE_COOKIE_AGE = 31_536_000
LANGUAGE_COOKIE_HTTPONLY = True
LANGUAGE_COOKIE_SAMESITE = "Lax"
LANGUAGE_COOKIE_SECURE = BEHIND_TLS
FORMAT_MODULE_PATH = "dreamlayer_site.formats"

# What a scraper of /metrics has to send as `Authorization: Bearer …`. Without it, /metrics answers 404.
METRICS_TOKEN = env.secret("DREAMLAYER_METRICS_TOKEN", "")

LOG_LEVEL = env.str("DREAMLAYER_LOG_LEVEL", "INFO")
# "line", or "json": one JSON object per record, with the ids of the request and the generation.
LOG_FORMAT = env.str("DREAMLAYER_LOG_FORMAT", "line", choices=("line", "json"))
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {
        "no_traceback": {"()": "django.utils.log.CallbackFilter", "callback": remove_traceback},
        "not_logged_yet": {"()": "django.utils.log.CallbackFilter", "callback": is_not_logged_yet},
    },
    "formatters": {
        "line": {"format": "{asctime} {levelname} {name}: {message}", "style": "{"},
        "json": {"()": "dreamlayer_site.json_log.JsonFormatter"},
    },
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": LOG_FORMAT}},
    "root": {"handlers": ["console"], "level": "WARNING"},
    "loggers": {
        "inpainting": {"level": LOG_LEVEL},
        "accounts": {"level": LOG_LEVEL},
        # One record for each request: a proxy has its own log, so that only programs read this one.
        "dreamlayer_site.request_context": {"level": LOG_LEVEL if LOG_FORMAT == "json" else "WARNING"},
        "django.request": {"level": "ERROR", "filters": ["not_logged_yet"]},
        "django.security.DisallowedHost": {"filters": ["no_traceback"]},
    },
}
