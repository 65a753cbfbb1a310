"""Why goals are not met: what the remaining time is, as the limits and profiles show it."""

#: By figure.
REASONS: dict[str, str] = {}
