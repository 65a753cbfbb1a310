"""Works one kernel hard and watches what it takes: `scripts/soak` is its command line."""
