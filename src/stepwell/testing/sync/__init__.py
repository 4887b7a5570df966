"""The kit for tests that are not async; most of it is made of the other one."""
