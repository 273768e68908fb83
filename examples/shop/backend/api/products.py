"""What the shop sells."""

from django.http import HttpRequest, JsonResponse

from api.errors import method_not_allowed
from catalog.models import Product


def collection(request: HttpRequest) -> JsonResponse:
    if request.method not in ("GET", "HEAD"):
        return method_not_allowed("GET")
    products = [_document(product) for product in Product.objects.all()]
    return JsonResponse({"count": len(products), "products": products})


def _document(product: Product) -> dict[str, object]:
    return {
        "id": product.pk,
        "name": product.name,
        "description": product.description,
        "price_cents": product.unit_price_cents,
    }
