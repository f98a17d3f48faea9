"""Creates and reaches the hosts of a lab; code outside this package does not depend on the substrate."""
