"""JSON answers for what goes wrong."""

from django.http import HttpRequest, JsonResponse


def problem(status: int, message: str) -> JsonResponse:
    return JsonResponse({"error": message}, status=status)


def method_not_allowed(*allowed: str) -> JsonResponse:
    answer = problem(405, "use " + " or ".join(allowed))
    answer["Allow"] = ", ".join(allowed)
    return answer


def bad_request(request: HttpRequest, exception: Exception) -> JsonResponse:
    return problem(400, "bad request")


def not_found(request: HttpRequest, exception: Exception) -> JsonResponse:
    return problem(404, "there is nothing here")


def failed(request: HttpRequest) -> JsonResponse:
    """Django has logged the exception; the client learns nothing about the inside."""
    return problem(500, "the shop failed to answer")
