"""The steps of the runbooks, in the order they run: check, router, pull, backup, migrate, start, health, smoke,
stage, switch, public smoke, bake, retire."""
