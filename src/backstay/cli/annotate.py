"""Annotations of a GitHub Actions run: only the command that runs in the job can make them."""

from __future__ import annotations

import os

from backstay.cli.options import Settings
from backstay.cli.output import put
from backstay.domain.deployment import Deployment
from backstay.domain.notification import annotation, title_of, told_of


def annotate(
    settings: Settings, app: str, environment: str, status: str, component: str, message: str
) -> bool:
    """Print a workflow command when we run in GitHub Actions; says whether. GitHub reads both streams, so with
    `--json` it goes to standard error."""
    if os.environ.get("GITHUB_ACTIONS") != "true":
        return False
    title = title_of(app, environment, status, component)
    put(annotation(status, title, message), err=settings.json)
    return True


def annotate_deployment(settings: Settings, deployment: Deployment) -> None:
    """Annotate what a deployment's state says, if anything."""
    told = told_of(deployment)
    if told is not None:
        where = deployment.app, deployment.environment
        annotate(settings, *where, told.status, told.component, told.message)
