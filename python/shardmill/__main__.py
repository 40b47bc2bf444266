"""`python -m shardmill` is the `shardmill` command."""

from shardmill.cli.main import main

main()
