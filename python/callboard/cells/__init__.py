"""Runs cells: their queue, their states, their tags and timeouts."""
