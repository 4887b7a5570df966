"""What is wrong with a database, and what helps: `examine` goes through all of it."""
