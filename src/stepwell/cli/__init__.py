"""The command line. One file per command family; what they share has a file of its own."""
