"""A real Postgres from a wheel or from the system, for development, tests and small deployments."""
