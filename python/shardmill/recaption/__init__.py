"""The recaption pipeline: images to captions from several perspectives."""
