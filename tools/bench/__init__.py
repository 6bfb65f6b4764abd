"""`mesh bench`: figures of one broker, or of two in alternating rounds."""
