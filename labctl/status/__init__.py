"""How a lab is: what its nodes say of themselves, put together."""
