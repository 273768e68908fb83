"""The JSON API: one module per resource, plain Django views."""
