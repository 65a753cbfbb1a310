"""Helpers that know no other part of the package."""
