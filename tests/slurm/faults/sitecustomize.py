"""Faults for worker processes: with this folder on PYTHONPATH, models do what the file SHARDMILL_FAULTS says.

The file is JSON and is read again for every request, so that a test can change it while workers run. For the `rules` model,
`slow`: seconds per request, of those that hold `slow_word` if there is one; `poison`: a word that kills the worker of a request
that holds it; `bad_nodes`: nodes where every worker dies. For every model, `load`: seconds that it takes to load; `loads`: a file
that gets a line for each time.
"""

import json
import os
import signal
import sys
import time

if "SHARDMILL_FAULTS" in os.environ and "shardmill.launch.worker_main" in sys.orig_argv:
    import importlib.abc
    import importlib.util

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

    def suffering(stream):
        def suffering_stream(self, requests):
            def watched():
                for request in requests:
                    suffer(request)
                    yield request

            yield from stream(self, watched())

        return suffering_stream

    def loading(open_model):
        def slow_open_model(role, spec):
            told = faults()
            time.sleep(told.get("load", 0))
            if told.get("loads"):
                with open(told["loads"], "a", encoding="utf-8") as file:
                    file.write(f"{role} {os.getpid()}\n")
            return open_model(role, spec)

        return slow_open_model

    def change_rules(module):
        module.RulesModel.stream = suffering(module.RulesModel.stream)

    def change_registry(module):
        module.open_model = loading(module.open_model)

    CHANGES = {"shardmill.embedded.rules.engine": change_rules, "shardmill.models.registry": change_registry}

    class Finder(importlib.abc.MetaPathFinder):
        def find_spec(self, name, path, target=None):
            change = CHANGES.pop(name, None)
            if change is None:
                return None
            spec = importlib.util.find_spec(name)
            execute = spec.loader.exec_module

            def exec_module(module):
                execute(module)
                change(module)

            spec.loader.exec_module = exec_module
            return spec

    sys.meta_path.insert(0, Finder())
