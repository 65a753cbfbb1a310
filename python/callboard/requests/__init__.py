"""Handlers of requests other than cells, and the standard streams of cells."""
