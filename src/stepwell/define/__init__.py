"""What users write. Pure values: nothing here knows that a database exists."""
