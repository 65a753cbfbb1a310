"""Cells: how one runs, and what its tags ask for."""
