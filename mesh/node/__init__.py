"""The composition root: a pure core, and the trio driver that carries its effects out."""
