"""What can be watched in a running script, one probe a file."""
