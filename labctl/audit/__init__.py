"""Which settings of somebody's Celery application lose or stall tasks, read without running it."""
