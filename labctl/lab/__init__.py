"""What a lab keeps between commands, and its inventory."""
