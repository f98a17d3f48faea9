"""Applications that a user adds to a lab: their declarations, their deployment, and access to them."""
