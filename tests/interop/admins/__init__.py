"""Seven admin clients that run one story; what came of it is the same for all of them."""
