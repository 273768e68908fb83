"""The shop's addresses. The websocket echo is not here: `asgi.py` routes it beside Django."""

from django.urls import path

from api import errors, orders, products, slow, status

urlpatterns = [
    path("api/v1/", status.root),
    path("api/v1/health/", status.health),
    path("api/v1/products/", products.collection),
    path("api/v1/orders/", orders.collection),
    path("api/v1/orders/count/", orders.count),
    path("api/v1/slow/", slow.wait),
]

handler400 = errors.bad_request
handler404 = errors.not_found
handler500 = errors.failed
