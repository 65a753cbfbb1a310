"""IPython, adapted to frontends and to cells that run at the same time."""
