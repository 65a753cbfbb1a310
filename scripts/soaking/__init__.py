"""The soak test: works one kernel hard and watches its resources. `scripts/soak` is its command line."""
