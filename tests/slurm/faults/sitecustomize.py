"""Faults for worker processes: with this folder on PYTHONPATH, the `rules` model does what the file SHARDMILL_FAULTS says.

The file is JSON and is read again for every request, so that a test can change it while workers run:
`slow`: seconds per request, of those that hold `slow_word` if there is one; `poison`: a word that kills the worker of a request
that holds it; `bad_nodes`: nodes where every worker dies.
"""

import json
import os
import signal
import sys
import time

if "SHARDMILL_FAULTS" in os.environ and "shardmill.launch.worker_main" in sys.orig_argv:
    import importlib.abc
    import importlib.util

    NAME = "shardmill.embedded.rules.engine"

    def faults():
        try:
            with open(os.environ["SHARDMILL_FAULTS"], encoding="utf-8") as file:
                return json.load(file)
        except FileNotFoundError:
            return {}

    def suffer(request):
        told = faults()
        text = json.dumps(request.chat.values)
        if os.environ.get("SLURMD_NODENAME") in told.get("bad_nodes", ()):
            os.kill(os.getpid(), signal.SIGKILL)
        if told.get("poison") and told["poison"] in text:
            os.kill(os.getpid(), signal.SIGKILL)
        if told.get("slow_word", "") in text:
            time.sleep(told.get("slow", 0))

    class Finder(importlib.abc.MetaPathFinder):
        def find_spec(self, name, path, target=None):
            if name != NAME:
                return None
            sys.meta_path.remove(self)
            spec = importlib.util.find_spec(name)
            execute = spec.loader.exec_module

            def exec_module(module):
                execute(module)
                stream = module.RulesModel.stream

                def suffering(self, requests):
                    def watched():
                        for request in requests:
                            suffer(request)
                            yield request

                    yield from stream(self, watched())

                module.RulesModel.stream = suffering

            spec.loader.exec_module = exec_module
            return spec

    sys.meta_path.insert(0, Finder())
