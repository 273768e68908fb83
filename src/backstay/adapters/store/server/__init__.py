"""The store on a PostgreSQL server. psycopg, and for writers SQLAlchemy, are imported when they are first needed."""
