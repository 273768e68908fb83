"""A good file, and one that uses every section."""

from __future__ import annotations

from pathlib import Path
from typing import Final

GOOD: Final = """\
app: shop
components:
  backend:
    image: registry.example/shop-backend
    port: 8000
    health: {path: /health/, interval: 500ms}
    env: {MODE: production}
    secrets: [DATABASE_URL]
    volumes: ["media:/srv/media"]
    memory: 512m
  frontend: {image: registry.example/shop-frontend, port: 80}
routes:
  - {path: /api/, component: backend}
  - {path: /, component: frontend}
database: {url_secret: DATABASE_URL}
smoke:
  - {name: api root, path: /api/v1/, expect: {status: 200}}
environments:
  dev: {router: {bind: "127.0.0.1:8080"}, secrets: {file: dev.env}}
  prod:
    router: {bind: "127.0.0.1:8443"}
    secrets: {file: prod.env}
    policy: {bake: 10m, triggers: {failed_probes: 3}}
"""

FULL: Final = """\
app: shop
store: state.db
components:
  backend:
    image: registry.example/shop-backend        # no tag: a release supplies it
    command: [gunicorn, shop.wsgi, -w, 3]
    workdir: releases/{version}
    port: 8000
    health: {path: /api/v1/health/, headers: {Host: localhost}, deadline: 120s, interval: 500ms}
    env: {DJANGO_SETTINGS_MODULE: shop.settings, WORKERS: 3, DEBUG: no}
    secrets: [DATABASE_URL, SECRET_KEY]
    migrate: [python, manage.py, migrate, --noinput]
    volumes: ["media:/srv/media"]
    memory: 512m
    stop_grace: 30s
  frontend: {image: registry.example/shop-frontend, port: 80, health: {path: /}}
routes:                                          # longest path wins; websockets pass
  - {path: /api/, component: backend}
  - {path: /, component: frontend}
database:
  {url_secret: DATABASE_URL, backup_url_secret: BACKUP_URL, scratch: auto}
smoke:
  - {name: api root, path: /api/v1/, expect: {status: 200, json: {"$.database": connected}, header: {content-type: json}, under: 2s}}
registry: {username_secret: REGISTRY_USER, password_secret: REGISTRY_PASSWORD}
environments:
  dev:  {engine: docker, hosts: [local], network: shop-dev, router: {bind: "127.0.0.1:8080"}, secrets: {file: .secrets/dev.env}}
  uat:  {url: https://uat.example, notify: ["slack://${HOOK}"], secrets: {file: /etc/shop/uat.env}, backups: dumps}
  prod:
    url: https://www.example
    router: {bind: ":443"}
    secrets: {file: prod.env}
    policy: {bake: 5m, lease: 90s, smoke_every: off, accept: [disk], triggers: {error_points: 0.1, slow_answer: 3s}}
"""  # noqa: E501


def written(folder: Path, text: str | bytes) -> Path:
    """`text` as backstay.yml in `folder`."""
    path = folder / "backstay.yml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path
