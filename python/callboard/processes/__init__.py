"""Shell commands and scripts that hold up no event loop."""
