"""Django settings, all from the environment.

DATABASE_URL    `postgresql://user:password@host:port/name`, required
SECRET_KEY      required
ALLOWED_HOSTS   comma-separated host names the API answers to, default `*`
SHOP_POOL_SIZE  database connections per process, default 0 (a connection per use); the server sets its own
"""

import os

from django.core.exceptions import ImproperlyConfigured

from shop.database_url import InvalidDatabaseUrl, database_settings


def _required(name: str) -> str:
    value = os.environ.get(name, "")
    if not value:
        raise ImproperlyConfigured(f"the environment variable {name} is missing or empty")
    return value


def _databases() -> dict[str, object]:
    pool_size = int(os.environ.get("SHOP_POOL_SIZE", "0"))
    try:
        return {"default": database_settings(_required("DATABASE_URL"), pool_size)}
    except InvalidDatabaseUrl as problem:
        raise ImproperlyConfigured(str(problem)) from None


SECRET_KEY = _required("SECRET_KEY")
DATABASES = _databases()
ALLOWED_HOSTS = [host.strip() for host in os.environ.get("ALLOWED_HOSTS", "*").split(",") if host.strip()]

DEBUG = False
INSTALLED_APPS = ["catalog"]
MIDDLEWARE = ["shop.middleware.front_door"]
ROOT_URLCONF = "shop.urls"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
TIME_ZONE = "UTC"
USE_I18N = False
DATA_UPLOAD_MAX_MEMORY_SIZE = 256 * 1024

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"stdout": {"class": "logging.StreamHandler", "stream": "ext://sys.stdout"}},
    "root": {"handlers": ["stdout"], "level": "WARNING"},
}
