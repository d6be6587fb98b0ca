"""The servers: how each is started, found, stopped and asked, the same here and in a container."""
