"""Event files: read in pieces, validated, and published to the topics."""
