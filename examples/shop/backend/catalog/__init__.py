"""The shop's data: products and orders."""
