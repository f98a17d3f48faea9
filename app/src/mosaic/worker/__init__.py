"""What a worker and beat report about themselves, each second."""
