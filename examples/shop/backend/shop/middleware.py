"""What every HTTP request passes on its way to a view and back."""

from collections.abc import Awaitable, Callable

from django.http import HttpRequest, HttpResponse
from django.utils.decorators import async_only_middleware

Handler = Callable[[HttpRequest], Awaitable[HttpResponse]]


@async_only_middleware
def front_door(get_response: Handler) -> Handler:
    """Enforce ALLOWED_HOSTS and give every answer its length.

    Django checks the Host header only where something asks for it, and nothing else here does. Without a
    length the server would send chunks, and a cut answer would be harder to tell from a whole one.
    """

    async def middleware(request: HttpRequest) -> HttpResponse:
        request.get_host()  # raises DisallowedHost, which Django answers with 400
        response = await get_response(request)
        response.headers["Content-Length"] = str(len(response.content))
        return response

    return middleware
