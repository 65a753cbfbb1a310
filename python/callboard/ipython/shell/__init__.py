"""IPython's shell."""
