"""Start runs, steer them and wait for them: with an event loop or without."""
