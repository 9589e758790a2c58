"""What can be known before a run costs anything."""
