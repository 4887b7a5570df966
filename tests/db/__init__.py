"""The SQL core by itself: every function through the calls that Python makes, and nothing above."""
