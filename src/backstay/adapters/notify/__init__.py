"""Notifications: the file log, and whatever Apprise can reach."""

from backstay.adapters.notify.receivers import OutsideReceivers

__all__ = ["OutsideReceivers"]
