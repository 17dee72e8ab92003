"""The worker: Faust app, transport, and a task for each partition number."""
