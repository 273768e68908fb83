"""Backstay: deploys containerised web applications so that a bad release cannot hurt anyone."""

__version__ = "0.1.0"
