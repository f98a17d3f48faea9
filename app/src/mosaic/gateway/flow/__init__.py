"""The page Flow: what is declared in a vhost, who publishes, who consumes, and how many messages move."""
