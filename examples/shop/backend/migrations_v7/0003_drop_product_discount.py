"""Discounts are gone again. Drops a column that v2 still reads, so v2 cannot live with the migrated database.

A careful release would first stop reading the column, and drop it in a later one.
"""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = (("catalog", "0002_product_discount"),)
    operations = (migrations.RemoveField(model_name="product", name="discount_cents"),)
