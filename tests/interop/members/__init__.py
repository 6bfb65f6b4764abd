"""Members of groups in seven client libraries: they read rows while the world is unkind to them."""
