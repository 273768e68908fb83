"""The state store against real SQLite files and real processes."""
