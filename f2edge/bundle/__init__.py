"""The bundle: a directory with a manifest, in which the build side ends and the edge side begins."""
