"""What a lab keeps between commands, and the inventory that follows from it."""
