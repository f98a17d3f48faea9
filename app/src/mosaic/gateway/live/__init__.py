"""Server-sent events: feeds, and the streams that carry them to browsers."""
