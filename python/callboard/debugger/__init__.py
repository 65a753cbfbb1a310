"""The Python side of the debugger: starts and removes pydevd, and looks at variables while nothing stands."""
