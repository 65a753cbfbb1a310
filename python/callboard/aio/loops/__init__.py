"""The event loops of Callers: asyncio's and trio's, also one as the guest of the other.

Modules that import trio at their top (`trio_loop`, `borrowed_trio`, `guest`) are imported only when trio is used.
"""
