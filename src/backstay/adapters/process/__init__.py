"""Plain processes of this host behind the engine port: no images, no containers, nothing to install."""

from backstay.adapters.process.engine import ProcessEngine

__all__ = ["ProcessEngine"]
