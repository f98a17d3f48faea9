"""What makes and reaches the hosts of a lab; nothing outside this package asks which substrate it is."""
