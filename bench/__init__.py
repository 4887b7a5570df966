"""What the engine costs, side by side with bare SQL on the same rows. See README.md."""
