"""Where everything of the test world lies: one private folder."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.world.errors import WorldError

# A unix socket's path holds at most 107 bytes, and the engine adds up to about 45 to the folder.
LONGEST_FOLDER = 60


@dataclass(frozen=True)
class Layout:
    """The paths below one world's folder."""

    folder: Path

    @classmethod
    def chosen(cls) -> Layout:
        """The folder named by BACKSTAY_WORLD, else the user's own one in the temporary folder."""
        named = os.environ.get("BACKSTAY_WORLD")
        folder = Path(named) if named else Path(tempfile.gettempdir()) / f"backstay-world-{os.getuid()}"
        if not folder.is_absolute() or len(str(folder)) > LONGEST_FOLDER:
            raise WorldError(f"the folder must be absolute and at most {LONGEST_FOLDER} characters: {folder}")
        return cls(folder)

    @property
    def state_file(self) -> Path:
        return self.folder / "world.json"

    @property
    def logs(self) -> Path:
        return self.folder / "logs"

    @property
    def engine(self) -> Path:
        return self.folder / "engine"

    @property
    def engine_socket(self) -> Path:
        return self.folder / "docker.sock"

    @property
    def containerd_socket(self) -> Path:
        return self.engine / "containerd.sock"

    @property
    def client_config(self) -> Path:
        """The docker client's own folder, with the registry's credentials."""
        return self.folder / "client"

    @property
    def registry(self) -> Path:
        return self.folder / "registry"

    @property
    def postgres(self) -> Path:
        """The only part that another user owns: the database server refuses to run as root."""
        return self.folder / "postgres"

    @property
    def scratch(self) -> Path:
        return self.folder / "scratch"

    def log(self, name: str) -> Path:
        return self.logs / f"{name}.log"


def cache_folder() -> Path:
    """Where costly results outlive a world: the user's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "backstay-dev"
