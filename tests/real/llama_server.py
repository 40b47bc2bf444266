"""llama_server.py GGUF PORT SLOTS: llama.cpp's OpenAI-compatible server on this machine, until it is terminated."""

from __future__ import annotations

import signal
import sys

import xllamacpp

CONTEXT = 4096
"""Tokens of a prompt and its answer together, in each slot."""

path, port, slots = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
wanted = xllamacpp.CommonParams()
wanted.model.path = path
wanted.hostnames, wanted.port = ["127.0.0.1"], port
wanted.n_parallel, wanted.n_ctx = slots, CONTEXT * slots
wanted.cpuparams.n_threads = wanted.cpuparams_batch.n_threads = 1  # more wait for each other on a busy machine
server = xllamacpp.Server(wanted)
signal.sigwait({signal.SIGTERM, signal.SIGINT})
