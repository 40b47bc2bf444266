"""The embedded scene models: images per second, and what is found at set error rates.

python tests/bench/scene.py
"""

from __future__ import annotations

import argparse
import time
from random import Random

from shardmill.embedded.scene import detect_objects, draw_scene
from shardmill.language.lexicon import lexicon

IMAGES = 300


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    known = lexicon()
    names = list(known.entries)
    rng = Random(0)
    contents = [rng.sample(names, rng.randint(1, 6)) for _ in range(IMAGES)]
    draw_scene(["dog"], seed=0)
    started = time.perf_counter()
    images = [draw_scene(objects, seed=seed) for seed, objects in enumerate(contents)]
    print(f"drew {IMAGES / (time.perf_counter() - started):,.0f} images/s")
    for miss_rate, false_alarm_rate in ((0.0, 0.0), (0.1, 0.02)):
        found = asked = alarms = absent = 0
        started = time.perf_counter()
        for image, objects in zip(images, contents, strict=True):
            kinds = {kind for name in objects for kind in (name, *known.kinds(known.entries[name]))}
            others = [name for name in rng.sample(names, 10) if name not in kinds]
            results = detect_objects(image, objects + others, miss_rate, false_alarm_rate)
            found += sum(results[name].score >= 0.1 for name in objects)
            alarms += sum(results[name].score >= 0.1 for name in others)
            asked, absent = asked + len(objects), absent + len(others)
        rate = IMAGES / (time.perf_counter() - started)
        print(
            f"miss rate {miss_rate:.2f}, false alarm rate {false_alarm_rate:.2f}: recall {found / asked:.3f}, "
            f"false alarms {alarms / absent:.3f} of absent names, detected {rate:,.0f} images/s"
        )


if __name__ == "__main__":
    main()
