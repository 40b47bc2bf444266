"""Pools of concepts: what a picture may be of, and where such a thing is seen."""
