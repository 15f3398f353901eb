"""Redis: the client, every key, the Lua scripts, and how records are stored."""
