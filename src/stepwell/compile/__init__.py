"""Definitions to shapes: plain data that the SQL core understands."""
