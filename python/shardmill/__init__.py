"""Shardmill mills image-caption tables into vision-language training data, shard by shard, and loses no row."""

__version__ = "0.1.0"
