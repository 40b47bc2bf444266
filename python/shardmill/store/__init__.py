"""Everything that touches a run on disk: parts, journals, manifests, plans, combining."""
