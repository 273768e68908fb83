"""The secrets that something needs, or what is missing of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from backstay.domain.environment import Environment
from backstay.domain.release import Component
from backstay.domain.secret import Secret
from backstay.errors import CheckFailed


def needed(environment: Environment, known: Mapping[str, Secret], names: Iterable[str]) -> dict[str, Secret]:
    """Those of `known` that are named. CheckFailed, which names all that are missing and where they belong."""
    wanted = sorted(set(names))
    if missing := [name for name in wanted if name not in known]:
        raise CheckFailed(
            f"secrets missing: {', '.join(missing)}",
            hint=f"set them in {environment.secrets_file or 'a secrets file (environments.ENV.secrets.file)'}",
            state="nothing was changed",
        )
    return {name: known[name] for name in wanted}


def names_of(components: Iterable[Component]) -> set[str]:
    """The secrets that these components are given."""
    return {name for component in components for name in component.secrets}
