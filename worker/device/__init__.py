"""The device: one worker process, its models, its heartbeat and its loop."""
