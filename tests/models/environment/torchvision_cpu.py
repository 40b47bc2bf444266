"""Makes torchvision's CUDA build importable beside a torch for CPUs. For tests only.

Its compiled part needs CUDA's libraries, and without it `import torchvision` fails as soon as an operator that it would define is
used in a declaration. What image processors use of it is Python over torch, so declaring the two operators is enough. This module
is loaded at the start of every process (a .pth file says so) and waits for somebody to import torchvision.
"""

import importlib.abc
import sys


class BeforeTorchvision(importlib.abc.MetaPathFinder):
    """Declares the operators at the first import of torchvision, and leaves the import to others."""

    def find_spec(self, name, path=None, target=None):
        if name == "torchvision":
            sys.meta_path.remove(self)
            declare_operators()
        return None


def declare_operators():
    import torch

    if torch.version.cuda is not None:
        return
    library = torch.library.Library("torchvision", "DEF")
    globals()["library"] = library  # its operators go when it does
    for operator in ("nms", "qnms"):
        library.define(operator + "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")


sys.meta_path.insert(0, BeforeTorchvision())
