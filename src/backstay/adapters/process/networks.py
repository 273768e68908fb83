"""Names of networks. Processes share the host's one network; a name only records whose it is."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from backstay.adapters.files import write_durably
from backstay.adapters.process.records import is_name, read_json
from backstay.errors import EngineError
from backstay.ports.engine import Network

GATEWAY: Final = "127.0.0.1"
"""Where the router is reached by the processes it serves."""


class Networks:
    """One file per name, which holds its labels."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def join(self, name: str, create: bool, labels: Mapping[str, str]) -> Network:
        """The network `name`; written down with `labels` when missing and `create`, else an EngineError."""
        if not is_name(name):
            raise EngineError(f"{name!r} cannot be the name of a network")
        if read_json(self._file(name)) is None:
            if not create:
                raise EngineError(
                    f"the process engine knows no network {name!r}",
                    hint="leave network out of backstay.yml: processes share the host's",
                )
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_durably(self._file(name), json.dumps(dict(labels)))
        return Network(name, GATEWAY)

    def labelled(self, labels: Mapping[str, str]) -> list[str]:
        """The names that carry all of `labels`."""
        known = {path.stem: read_json(path) or {} for path in sorted(self._folder.glob("*.json"))}
        return [name for name, found in known.items() if labels.items() <= found.items()]

    def remove(self, name: str, labels: Mapping[str, str]) -> None:
        """Forget the name if it carries all of `labels`."""
        found = read_json(self._file(name)) if is_name(name) else None
        if found is not None and labels and labels.items() <= found.items():
            self._file(name).unlink(missing_ok=True)

    def _file(self, name: str) -> Path:
        return self._folder / f"{name}.json"
