"""Event loops and what is awaited in them: asyncio and trio behind one interface."""
