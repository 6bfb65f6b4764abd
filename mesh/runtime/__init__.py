"""The seam: the ports that the world is reached through, and their real side."""
