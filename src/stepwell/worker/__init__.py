"""CLAIM, EXECUTE, COMMIT: one process that runs handlers."""
