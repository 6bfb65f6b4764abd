"""`mesh dump`: what stands in the files of a data directory, and whether it is sound."""
