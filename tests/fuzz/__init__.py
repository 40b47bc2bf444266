"""Hostile input: what is tried on everything that reads bytes or texts that nobody vouches for.

The unit tests try a fixed number of cases of each target; `fuzz.py` goes on for as long as it is told.
"""
