"""What a stage and a pipeline are, and how one shard of one stage is run."""
