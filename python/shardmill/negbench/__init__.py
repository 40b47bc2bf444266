"""The NegBench pipeline: captions and images to negated captions and multiple-choice questions."""
