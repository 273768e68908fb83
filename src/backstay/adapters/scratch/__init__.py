"""Scratch servers from the local binaries, from a container, or on a server that somebody gives."""

from backstay.adapters.scratch.scratches import OpenScratches

__all__ = ["OpenScratches"]
