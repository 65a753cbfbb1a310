"""SIGINT: what it does to the code that runs."""
