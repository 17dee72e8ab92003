"""What carries events: settings, topics, the Faust app, the batching transport and the partition task."""
