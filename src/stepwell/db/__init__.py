"""The only door to Postgres: every call of the SQL core is a value built here."""
