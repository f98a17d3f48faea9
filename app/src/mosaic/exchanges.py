"""The names of the exchanges; log records and dead letters have a queue of the same name."""

TASKS = "mosaic.tasks"
LOGS = "mosaic.logs"
DEAD = "mosaic.dead"
