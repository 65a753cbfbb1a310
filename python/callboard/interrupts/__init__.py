"""Interrupts: the handler of SIGINT, and the traceback of a KeyboardInterrupt."""
