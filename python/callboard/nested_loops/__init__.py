"""Event loops inside a cell: ``asyncio.run()`` and the like while the loop of the Caller runs."""
