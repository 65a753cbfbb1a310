"""Shell commands and scripts that do not block the event loop."""
