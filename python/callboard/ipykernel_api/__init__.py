"""The package ``ipykernel`` that libraries find in a kernel of callboard."""
