"""What requests other than cells ask for, and what cells take for standard streams."""
