"""Callers: threads with an event loop that others give calls to."""
