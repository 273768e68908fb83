"""Discounts. Only adds a nullable column, so v1 keeps working on the migrated database.

The image build puts this file beside 0001 for every version except v1: v1's own `migrate` must not know it.
"""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = (("catalog", "0001_initial"),)
    operations = (
        migrations.AddField(
            model_name="product",
            name="discount_cents",
            field=models.BigIntegerField(null=True),
        ),
    )
