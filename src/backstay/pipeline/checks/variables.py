"""Everything a component declares is set, with a value that somebody meant."""

from __future__ import annotations

from backstay.domain.variable import unset
from backstay.errors import CheckFailed
from backstay.pipeline.check import Check, Finding
from backstay.pipeline.checks.subject import Subject


def variables(subject: Subject) -> Check:
    def look() -> Finding:
        environment = subject.environment
        wanted = {name for component in subject.components.values() for name in component.secrets}
        if database := environment.database:
            wanted |= {database.url_secret, database.backup_url_secret, database.admin}
            wanted |= {database.identity_secret} if database.identity_secret else set()
            wanted |= set(database.copy.secrets) if database.copy else set()
        if registry := environment.registry:
            wanted |= {registry.username_secret, registry.password_secret}
        plain = {
            f"{component.name}.env.{name}": value
            for component in subject.components.values()
            for name, value in component.env.items()
        }
        found = unset(wanted, subject.secrets if wanted else {}, plain)
        if found:
            source = (
                environment.secrets_file or "a file that environments." + environment.name + ".secrets names"
            )
            raise CheckFailed(f"secrets {found}", hint=f"set them in {source}")
        return Finding(f"{len(wanted)} secrets and {len(plain)} variables are set")

    return Check("variables", look)
