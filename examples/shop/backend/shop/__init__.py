"""The shop's backend: settings, the ASGI application and the server."""
