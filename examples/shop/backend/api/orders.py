"""Placing orders and looking at them."""

import json
from dataclasses import dataclass

from django.http import HttpRequest, JsonResponse

from api.errors import method_not_allowed, problem
from catalog.models import Order, Product

SHOWN = 20
MAX_QUANTITY = 1000
MAX_NOTE_CHARACTERS = 64 * 1024
MAX_ID = 2**63 - 1


@dataclass(frozen=True)
class Wish:
    """What a client asked for: a product's id, how many, and a note for the packer."""

    product: int
    quantity: int
    note: str


class InvalidWish(ValueError):
    """The request's body is not an order; the message says why, for the client."""


def collection(request: HttpRequest) -> JsonResponse:
    """GET: the number of orders and the latest ones. POST: place an order, 201 with its document."""
    if request.method == "POST":
        return _place(request)
    if request.method not in ("GET", "HEAD"):
        return method_not_allowed("GET", "POST")
    latest = Order.objects.select_related("product")[:SHOWN]
    return JsonResponse({"count": Order.objects.count(), "orders": [_document(order) for order in latest]})


def count(request: HttpRequest) -> JsonResponse:
    if request.method not in ("GET", "HEAD"):
        return method_not_allowed("GET")
    return JsonResponse({"count": Order.objects.count()})


def read_wish(body: bytes) -> Wish:
    """Parse and validate a POST body. Raises `InvalidWish`."""
    try:
        document = json.loads(body)
    except ValueError:
        raise InvalidWish("the body is not JSON") from None
    if not isinstance(document, dict):
        raise InvalidWish("the body is not a JSON object")
    note = document.get("note", "")
    if not isinstance(note, str) or "\0" in note or len(note) > MAX_NOTE_CHARACTERS:
        raise InvalidWish(f"note must be text of at most {MAX_NOTE_CHARACTERS} characters")
    return Wish(
        product=_whole_number(document, "product", MAX_ID),
        quantity=_whole_number(document, "quantity", MAX_QUANTITY),
        note=note,
    )


def _whole_number(document: dict[str, object], key: str, largest: int) -> int:
    value = document.get(key)
    # bool is an int to Python, not to a customer
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= largest:
        raise InvalidWish(f"{key} must be a whole number from 1 to {largest}")
    return value


def _place(request: HttpRequest) -> JsonResponse:
    try:
        wish = read_wish(request.body)
    except InvalidWish as reason:
        return problem(400, str(reason))
    product = Product.objects.filter(pk=wish.product).first()
    if product is None:
        return problem(400, f"there is no product {wish.product}")
    order = Order.objects.create(
        product=product,
        quantity=wish.quantity,
        total_cents=product.unit_price_cents * wish.quantity,
        note=wish.note,
    )
    return JsonResponse(_document(order), status=201)


def _document(order: Order) -> dict[str, object]:
    return {
        "id": order.pk,
        "product": order.product.pk,
        "product_name": order.product.name,
        "quantity": order.quantity,
        "total_cents": order.total_cents,
        "created_at": order.created_at.isoformat(),
    }
