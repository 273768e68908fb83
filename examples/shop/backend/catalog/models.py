"""Products and orders. Money is in whole cents."""

from django.core.validators import MinValueValidator
from django.db import models

from shop.release import HAS_DISCOUNTS, ORDERS_ARE_UNIQUE


class Product(models.Model):
    name = models.TextField(unique=True)
    description = models.TextField()
    price_cents = models.BigIntegerField(validators=[MinValueValidator(1)])
    if HAS_DISCOUNTS:
        # Nullable: v1 goes on inserting and reading products while both versions run on one database.
        discount_cents = models.BigIntegerField(null=True)

    class Meta:
        ordering = ("id",)

    @property
    def unit_price_cents(self) -> int:
        """What one piece costs now, discount included."""
        discount: int | None = self.discount_cents if HAS_DISCOUNTS else None
        return self.price_cents - (discount or 0)


class Order(models.Model):
    product = models.ForeignKey(Product, on_delete=models.PROTECT, related_name="orders")
    quantity = models.BigIntegerField(validators=[MinValueValidator(1)])
    total_cents = models.BigIntegerField()
    note = models.TextField(blank=True, default="")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("-id",)
        constraints = (
            [models.UniqueConstraint(fields=("product", "quantity"), name="order_once")]
            if ORDERS_ARE_UNIQUE
            else []
        )
