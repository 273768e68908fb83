"""Tools for working on Backstay itself; no part of the product."""
