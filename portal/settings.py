"""Wiring of the portal. Every value that a deployment may change comes through `core.env`."""

from pathlib import Path

from portal.core import env

BASE_DIR = Path(__file__).resolve().parent.parent
HOME = env.folder("CONCORD_HOME", BASE_DIR / "var")
ZONE = env.one_of("CONCORD_ZONE", ("app", "identities", "owner"), "app")
DEBUG = env.flag("CONCORD_DEBUG")
SECRET_KEY = env.text("SECRET_KEY")
if len(SECRET_KEY) < 32:
    env.stop("SECRET_KEY", "is shorter than 32 characters")
# Only the identity zone may derive pseudonyms; elsewhere the key is absent on purpose.
VAULT_KEY = env.text("CONCORD_VAULT_KEY") if ZONE == "identities" else ""
VAULT_COLUMN_KEYS = env.secrets("CONCORD_VAULT_COLUMN_KEYS") if ZONE == "identities" else ()  # newest first

HOST = env.text("CONCORD_HOST", "127.0.0.1")
PORT = env.number("CONCORD_PORT", 8000, 1, 65535)
PUBLIC_URL = env.text("CONCORD_PUBLIC_URL", f"http://{HOST}:{PORT}")
DICOM_PORT = env.number("CONCORD_DICOM_PORT", 11112, 1, 65535)
DICOM_AET = env.text("CONCORD_AET", "CONCORD")
DICOM_TLS_PORT = env.number("CONCORD_DICOM_TLS_PORT", 0, 0, 65535)  # 0: no second port
DICOM_TLS_CERT = env.file("CONCORD_DICOM_TLS_CERT")
DICOM_TLS_KEY = env.file("CONCORD_DICOM_TLS_KEY")
DICOM_TLS_CA = env.file("CONCORD_DICOM_TLS_CA")  # signs our peers' certificates
DICOM_PROCESSES = env.number("CONCORD_DICOM_PROCESSES", 2, 1, 64)  # that take scans in side by side
HL7_PORT = env.number("CONCORD_HL7_PORT", 0, 0, 65535)  # reports by MLLP; 0: no listener
HL7_TLS_PORT = env.number("CONCORD_HL7_TLS_PORT", 0, 0, 65535)  # the same with DICOM's certificates
HL7_CONNECTIONS = env.number("CONCORD_HL7_CONNECTIONS", 32, 1, 1000)
ALLOWED_HOSTS = env.text("CONCORD_ALLOWED_HOSTS", "127.0.0.1,localhost,[::1]").split(",")
CSRF_TRUSTED_ORIGINS = [PUBLIC_URL]
HTTPS = PUBLIC_URL.startswith("https://")

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.humanize",
    "django.contrib.postgres",
    "django.contrib.staticfiles",
    "channels",
    "rest_framework",
    "drf_spectacular",
    "django_filters",
    "django_htmx",
    "django_vite",
    "csp",
    "pgtrigger",
    "pghistory",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "allauth.socialaccount",
    "allauth.socialaccount.providers.openid_connect",
    "portal.core",
    "portal.accounts",
    "portal.ingest",
    "portal.deidentify",
    "portal.archive",
    "portal.functions",
    "portal.peers",
    "portal.check",
    "portal.infer",
    "portal.programmes",
    "portal.read",
    "portal.second_read",
    "portal.consensus",
    "portal.score",
    "portal.reports",
    "portal.export",
    "portal.billing",
    "portal.home",
    "portal.demo",
]

MIDDLEWARE = [
    "portal.core.middleware.Streamed",
    "portal.core.middleware.RequestId",
    "portal.core.metrics.Measured",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "portal.accounts.middleware.CurrentOrganisation",
    "pghistory.middleware.HistoryMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
]

ROOT_URLCONF = "portal.urls"
ASGI_APPLICATION = "portal.asgi.application"
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
                "portal.home.context.shell",
            ],
        },
    },
]

# One pool per process; psycopg hands out connections, so requests never wait for a handshake.
DATABASES = {
    "default": {
        **env.database("DATABASE_URL"),
        "OPTIONS": {
            "pool": {
                "min_size": 1,
                "max_size": env.number("CONCORD_DB_POOL", 12, 1, 200),
                "timeout": 20,
            },
            # Only statements that ask for it are prepared (portal/programmes/taking.py); those take their plan over
            # from one call to the next, since planning costs them more than running.
            "prepare_threshold": 5,
            "options": "-c plan_cache_mode=force_generic_plan",
        },
        "CONN_HEALTH_CHECKS": True,
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

STORAGES = {
    "default": env.storage("STORAGE_URL", HOME / "storage" / "archive"),
    "archive": env.storage("STORAGE_URL", HOME / "storage" / "archive"),
    # The drop folder: every door appends here, only the identity zone reads it back.
    "landing": env.storage("LANDING_URL", HOME / "storage" / "identities" / "landing"),
    "staticfiles": {
        "BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"
        if DEBUG
        else "whitenoise.storage.CompressedManifestStaticFilesStorage"
    },
}

# --- broker, channels, celery ------------------------------------------------------------------
BROKER_URL = env.broker("BROKER_URL")
CHANNEL_URL = env.text("CHANNEL_URL", BROKER_URL)
CHANNEL_LAYERS = {
    "default": {
        "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
        "CONFIG": {"hosts": [CHANNEL_URL], "prefix": env.text("CONCORD_CHANNEL_PREFIX", "concord")},
    }
}
CACHES = {
    "default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": CHANNEL_URL},
}
CELERY_BROKER_URL = BROKER_URL
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ROUTES = ("portal.core.tasks.route",)
CELERY_TASK_DEFAULT_QUEUE = "default"
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_TRANSPORT_OPTIONS = {"visibility_timeout": 3600, "queue_order_strategy": "priority"}
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_TIMEZONE = "UTC"
CELERY_BEAT_SCHEDULE = {
    "sweep the outbox": {"task": "portal.core.tasks.sweep_outbox", "schedule": 5.0},
    "settle studies": {"task": "portal.archive.tasks.settle_studies", "schedule": 2.0},
    "pass overdue checks": {"task": "portal.check.tasks.pass_overdue", "schedule": 60.0},
    "expire claims": {"task": "portal.programmes.tasks.expire_claims", "schedule": 60.0},
    "open overdue cases": {"task": "portal.programmes.tasks.open_overdue", "schedule": 60.0},
    "send returns again": {"task": "portal.export.tasks.resend_due", "schedule": 15.0},
    "due work with peers": {"task": "portal.peers.tasks.run_due", "schedule": 5.0},
    "forget peers' answers": {"task": "portal.peers.tasks.forget_answers", "schedule": 3600.0},
    "look at quiet series": {"task": "portal.deidentify.tasks.look_at_quiet_series", "schedule": 2.0},
    "mend faces": {"task": "portal.deidentify.tasks.mend_faces", "schedule": 300.0},
    "forget pictures of text": {"task": "portal.deidentify.tasks.forget_looks", "schedule": 900.0},
    "expire originals": {"task": "portal.ingest.tasks.expire_landing", "schedule": 3600.0},
    "clean up": {"task": "portal.core.tasks.clean_up", "schedule": 3600.0},
    "forget workitem reports": {"task": "portal.read.tasks.forget_reports", "schedule": 3600.0},
}

# --- sign-in -------------------------------------------------------------------------------------
AUTH_USER_MODEL = "accounts.User"
AUTHENTICATION_BACKENDS = ["portal.accounts.people_only.PeopleOnly"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "home"
ACCOUNT_LOGIN_METHODS = {"username", "email"}
ACCOUNT_SIGNUP_FIELDS = ["username*", "email*", "password1*", "password2*"]
ACCOUNT_EMAIL_VERIFICATION = "none"
ACCOUNT_ADAPTER = "portal.accounts.adapter.ClosedSignup"
ACCOUNT_FORMS = {
    "reset_password": "portal.accounts.people_only.ResetForm",
    "user_token": "portal.accounts.people_only.ResetKeyForm",
}
ACCOUNT_RATE_LIMITS = {"login_failed": "20/5m/ip,5/5m/key"}
MFA_SUPPORTED_TYPES = ["totp", "recovery_codes"]
MFA_TOTP_ISSUER = "Concord"
EMAIL_BACKEND = "django.core.mail.backends.console.EmailBackend"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = HTTPS
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_AGE = 12 * 3600
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
SECURE_HSTS_SECONDS = 31536000 if HTTPS else 0
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if env.flag("CONCORD_BEHIND_PROXY") else None
X_FRAME_OPTIONS = "SAMEORIGIN"
CSRF_FAILURE_VIEW = "portal.home.views.csrf_failure"

CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'none'"],
        "script-src": ["'self'", "'wasm-unsafe-eval'"],
        "worker-src": ["'self'"],
        "connect-src": ["'self'"],
        "img-src": ["'self'", "data:", "blob:"],
        "style-src": ["'self'"],
        "style-src-attr": ["'unsafe-inline'"],
        "font-src": ["'self'"],
        "base-uri": ["'none'"],
        "form-action": ["'self'"],
        "frame-ancestors": ["'self'"],
    }
}

# --- API -----------------------------------------------------------------------------------------
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "portal.accounts.authentication.TokenAuthentication",
        "portal.accounts.authentication.ApiSessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["portal.core.parsers.StorableJSONParser"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "portal.core.errors.api_exception_handler",
    "DEFAULT_PAGINATION_CLASS": "portal.core.pagination.KeysetPagination",
    "PAGE_SIZE": 50,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Concord",
    "VERSION": "1",
    "SERVE_INCLUDE_SCHEMA": False,
    "SCHEMA_PATH_PREFIX": "/api/v1/",
}

# --- languages, static files ---------------------------------------------------------------------
LANGUAGE_CODE = "en"
LANGUAGES = [("en", "English"), ("de", "Deutsch"), ("fr", "Français")]
LOCALE_PATHS = [BASE_DIR / "templates" / "locale"]
TIME_ZONE = "UTC"
USE_TZ = True
STATIC_URL = "/static/"
STATIC_ROOT = HOME / "static"
STATICFILES_DIRS = [
    ("site", BASE_DIR / "static" / "site"),
    ("viewer", BASE_DIR / "static" / "viewer" / "dist"),
]
DJANGO_VITE = {
    "default": {
        "dev_mode": False,
        "manifest_path": BASE_DIR / "static" / "viewer" / "dist" / "manifest.json",
        "static_url_prefix": "viewer",
    }
}

# --- limits at the doors -------------------------------------------------------------------------
X_ACCEL = env.flag("CONCORD_X_ACCEL")  # nginx in front sends files: deploy/nginx/concord.conf
FRAMED_MB = env.number("CONCORD_FRAMED_MB", 4096, 0, 10_000_000)  # bodies of answers laid ready for it
MAX_INSTANCE_BYTES = env.number("CONCORD_MAX_INSTANCE_MB", 4096, 1, 65536) * 1024 * 1024
MAX_REQUEST_BYTES = env.number("CONCORD_MAX_REQUEST_MB", 16384, 1, 1_048_576) * 1024 * 1024
MAX_UPLOAD_FILES = env.number("CONCORD_MAX_UPLOAD_FILES", 10000, 1, 1_000_000)
MAX_ZIP_RATIO = env.number("CONCORD_MAX_ZIP_RATIO", 200, 2, 100_000)
MAX_ASSOCIATIONS = env.number("CONCORD_MAX_ASSOCIATIONS", 32, 1, 10_000)
MAX_REPORT_BYTES = env.number("CONCORD_MAX_REPORT_MB", 16, 1, 256) * 1024 * 1024  # a message or file of reports
STUDY_SETTLE_SECONDS = env.number("CONCORD_STUDY_SETTLE_SECONDS", 3, 0, 3600)
FACE_SETTLE_SECONDS = env.number("CONCORD_FACE_SETTLE_SECONDS", 10, 0, 3600)  # of a CT or MR series at the door
FACE_LATEST_SECONDS = env.number("CONCORD_FACE_LATEST_SECONDS", 300, 1, 86_400)
LANDING_RETENTION_DAYS = env.number("CONCORD_LANDING_RETENTION_DAYS", 30, 0, 36500)
DATA_UPLOAD_MAX_MEMORY_SIZE = 16 * 1024 * 1024
DATA_UPLOAD_MAX_NUMBER_FILES = MAX_UPLOAD_FILES
FILE_UPLOAD_MAX_MEMORY_SIZE = 1024 * 1024

# --- inference -----------------------------------------------------------------------------------
PACKAGES_ROOT = env.folder("CONCORD_PACKAGES", BASE_DIR / "inference" / "shipped")
INPUT_CHECK = env.text("CONCORD_INPUT_CHECK", "input-check")  # folder in CONCORD_PACKAGES, or off
INFERENCE_DEVICE = env.device("CONCORD_DEVICE", "auto")
INFERENCE_PRECISION = env.one_of("CONCORD_PRECISION", ("auto", "float32", "bfloat16", "float16"), "auto")
INFERENCE_COMPILE = env.flag("CONCORD_COMPILE")  # networks by torch.compile
INFERENCE_THREADS = env.number("CONCORD_INFERENCE_THREADS", 0, 0, 1024)  # of a forward pass on a CPU; 0: by PyTorch
PREPARED_MB = env.number("CONCORD_PREPARED_MB", 4096, 0, 10_000_000)  # network inputs kept on disk
INFERENCE_MEMORY_MB = env.number("CONCORD_INFERENCE_MEMORY_MB", 4096, 64, 1_000_000)  # weights in memory
INFERENCE_READERS = env.number("CONCORD_INFERENCE_READERS", 2, 1, 256)  # threads that read images
INFERENCE_BATCH = env.number("CONCORD_INFERENCE_BATCH", 16, 1, 4096)  # most images of one forward pass
INFERENCE_GROUP = env.number("CONCORD_INFERENCE_GROUP", 64, 1, 4096)  # most runs that one thread takes at once
INFERENCE_LIMIT_SECONDS = env.number("CONCORD_INFERENCE_LIMIT_SECONDS", 900, 1, 86_400)  # of one run

# which task follows which event: the only table that knows all steps
PIPELINE = "portal.pipeline.FOLLOWS"
PGHISTORY_APPEND_ONLY = True

LOGGING_CONFIG = "portal.core.logs.configure"
LOGGING = {"level": env.one_of("CONCORD_LOG_LEVEL", ("DEBUG", "INFO", "WARNING", "ERROR"), "INFO")}
SILENCED_SYSTEM_CHECKS: list[str] = []
