"""Middleware that enforces ALLOWED_HOSTS.

Django checks the Host header only where something asks for it; nothing else in this application does.
"""

from collections.abc import Awaitable, Callable

from django.http import HttpRequest, HttpResponseBase
from django.utils.decorators import async_only_middleware

Handler = Callable[[HttpRequest], Awaitable[HttpResponseBase]]


@async_only_middleware
def allowed_hosts_only(get_response: Handler) -> Handler:
    async def middleware(request: HttpRequest) -> HttpResponseBase:
        request.get_host()  # raises DisallowedHost, which Django answers with 400
        return await get_response(request)

    return middleware
