"""What a Celery application on RabbitMQ quorum queues needs so that no accepted task is lost."""
