"""What an environment gets for the keys that its file leaves out."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

from backstay.config import schema
from backstay.config.locate import store_place
from backstay.config.values import Seconds
from backstay.domain import policy as domain

S = TypeVar("S", bound=schema.Section)


def filled(config: schema.Config, name: str, folder: Path, home: Path) -> schema.Config:
    """`config` with only the environment `name`, and nothing left open that has a default.

    Relative paths become absolute from `folder`, where the file is. `home` is the state folder.
    """
    given = config.environments[name]
    environment = given.model_copy(
        update={
            "network": given.network or f"{config.app}-{name}",
            "policy": _policy(given.policy, name),
            "backups": _backups(config, name, folder, home),
            "continuous": _continuous(config, given),
            "secrets": given.secrets and schema.Secrets(file=str(folder / given.secrets.file)),
        }
    )
    database = config.database and _database(config.database)
    components = {
        each: component.model_copy(update={"workdir": component.workdir and str(folder / component.workdir)})
        for each, component in config.components.items()
    }
    return config.model_copy(
        update={
            "components": components,
            "environments": {name: environment},
            "database": database,
            "store": config.store and store_place(config.store, folder),
        }
    )


def _database(given: schema.Database) -> schema.Database:
    backup = given.backup_url_secret or given.url_secret
    update = {
        "backup_url_secret": backup,
        "admin_url_secret": given.admin_url_secret or backup,
        "replication_url_secret": given.replication_url_secret or backup,
    }
    return given.model_copy(update=update)


def _continuous(config: schema.Config, given: schema.Environment) -> bool:
    """What the environment says goes before what the database says; without a database there is nothing to receive."""
    if config.database is None:
        return False
    return config.database.continuous if given.continuous is None else given.continuous


def level_of(policy: schema.Policy, environment: str) -> domain.Level:
    """The built-in policy that `policy` begins with."""
    return domain.Level(policy.name) if policy.name else domain.default_level(environment)


def _policy(given: schema.Policy, environment: str) -> schema.Policy:
    built_in = domain.BUILT_IN[level_of(given, environment)]
    triggers = _completed(given.triggers, built_in.triggers)
    return _completed(given.model_copy(update={"name": built_in.level.value, "triggers": triggers}), built_in)


def _completed(given: S, built_in: object) -> S:
    """`given` with every open key taken from the field of the same name, or the same name in seconds."""
    open_keys = [key for key in type(given).model_fields if getattr(given, key) is None]
    return given.model_copy(update={key: _built_in(built_in, key) for key in open_keys})


def _built_in(source: object, key: str) -> Any:
    if hasattr(source, key):
        return getattr(source, key)
    seconds = getattr(source, f"{key}_s")
    return "off" if seconds is None else Seconds(seconds)


def _backups(config: schema.Config, name: str, folder: Path, home: Path) -> str:
    own = config.environments[name].backups
    if own:
        return str(folder / own)
    return str((folder / config.backups if config.backups else home / "backups") / name)
