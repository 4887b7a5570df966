"""What maintains the tree: run by people, checked by tests."""
