"""Connections that block: the pool of programs without an event loop."""
