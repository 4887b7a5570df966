"""The fixtures of Stepwell: a fresh database for each test that asks for one."""

pytest_plugins = ["stepwell.testing.plugin"]
