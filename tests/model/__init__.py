"""A plain Python model of what a flow run does, and the tests that hold the SQL against it."""
