"""The tests of other projects, with callboard as their kernel: `scripts/peers`."""
