"""Parts that each know one library, or none (`memory`), and implement ports by it."""
