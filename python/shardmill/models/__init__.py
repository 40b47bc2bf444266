"""Every model behind one contract: requests in, replies out."""
