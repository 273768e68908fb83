"""Measures what the project promises, each figure beside something a reader knows."""
