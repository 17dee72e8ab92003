"""Commands about event files, contracts and streams of changes."""
