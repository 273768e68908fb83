"""The tables of v1, and the products every shop starts with."""

import django.core.validators
import django.db.models.deletion
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps

PRODUCTS = (
    ("Anchor, folding", "Four flukes, galvanised, for boats up to five metres.", 3490),
    ("Bailer", "Holds two litres, floats.", 790),
    ("Barometer", "Brass, with a hand to mark the last reading.", 8900),
    ("Block, single", "Ball bearing, for 10 mm line.", 2450),
    ("Boat hook", "Telescopic, 1.2 to 2.1 metres.", 2790),
    ("Bosun's chair", "Padded seat with tool pockets.", 11900),
    ("Chart, harbour approaches", "Waterproof paper, corrected this month.", 2600),
    ("Compass, hand bearing", "Reads to one degree, glows for an hour.", 6450),
    ("Fender", "Air filled, 15 by 60 cm.", 1590),
    ("Flag, courtesy", "Sewn, 30 by 45 cm.", 990),
    ("Fog horn", "Works by lung, heard for a mile.", 1390),
    ("Jackstay, webbing", "Ten metres with sewn loops.", 4200),
    ("Lead line", "Twenty metres, marked the old way.", 1850),
    ("Life jacket", "150 newtons, inflates by itself.", 7990),
    ("Log book", "A hundred days on ruled paper.", 1250),
    ("Rigging knife", "With marlinspike and lanyard.", 3150),
    ("Shackle, bow", "Stainless, 8 mm, captive pin.", 1120),
    ("Sheet, 12 mm", "Per metre, soft cover.", 340),
    ("Storm lantern", "Burns twenty hours on one filling.", 2990),
    ("Winch handle", "Locking, 25 cm, floats.", 4490),
)


def add_products(apps: StateApps, editor: BaseDatabaseSchemaEditor) -> None:
    product = apps.get_model("catalog", "Product")
    product.objects.using(editor.connection.alias).bulk_create(
        product(name=name, description=description, price_cents=price_cents)
        for name, description, price_cents in PRODUCTS
    )


class Migration(migrations.Migration):
    initial = True
    dependencies = ()
    operations = (
        migrations.CreateModel(
            name="Product",
            fields=[
                (
                    "id",
                    models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID"),
                ),
                ("name", models.TextField(unique=True)),
                ("description", models.TextField()),
                ("price_cents", models.BigIntegerField(validators=[django.core.validators.MinValueValidator(1)])),
            ],
            options={"ordering": ("id",)},
        ),
        migrations.CreateModel(
            name="Order",
            fields=[
                (
                    "id",
                    models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID"),
                ),
                ("quantity", models.BigIntegerField(validators=[django.core.validators.MinValueValidator(1)])),
                ("total_cents", models.BigIntegerField()),
                ("note", models.TextField(blank=True, default="")),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                (
                    "product",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="orders",
                        to="catalog.product",
                    ),
                ),
            ],
            options={"ordering": ("-id",)},
        ),
        migrations.RunPython(add_products, migrations.RunPython.noop),
    )
