"""Image editors: the images of a pipeline, changed as an instruction says."""
