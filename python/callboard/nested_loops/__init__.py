"""Event loops inside a cell: ``asyncio.run()`` and the like, called while the loop of the Caller runs.

The functions that start a loop are wrapped (`wrap_runners`). Where a loop runs already, the wrapper hides it
(`hide_loop`): until the inner one has ended, the thread has no running loop, no current task and no current library,
as in a plain script. The outer loop stands still meanwhile, as it does in ``time.sleep()``. No loop is changed, and
none is entered twice. SIGINT reaches the inner loop through the kernel's handler (`sigint`).
"""
