"""Acts. asyncio: executes what `core` decides, through the ports."""
