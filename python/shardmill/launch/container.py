"""The `container:` block of a site file: workers run in a container, the job script and SLURM's commands outside of it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from shardmill.util.errors import UserError

CONTROL = '"${SHARDMILL_TIME_WARNING%/came}"'
"""The folder by which the job script and the tasks talk to each other."""
TEMPORARY = '"${TMPDIR:-/tmp}"'
IMAGE_FILES = (".sif", ".sqsh", ".img")

# The variables that a worker needs; podman passes none by itself.
PASSED = (
    "SLURM*",
    "SHARDMILL*",
    "HF_*",
    "TRANSFORMERS_*",
    "CUDA*",
    "NVIDIA*",
    "OMP_*",
    "TMPDIR",
    "OPENAI_API_KEY_FILE",
    "PYTHON*",
)

# Without the check, a wrong image would be a job that ends with "No module named shardmill".
_CHECK = """\
"$1" -c "import shardmill" || { echo "shardmill: in the image {image} the package shardmill was not found by $1; \
build one with env/Dockerfile or env/apptainer.def, or name its Python under container: python" >&2; exit 1; }; exec "$@\""""

ISOLATE = "unset PYTHONPATH PYTHONHOME; export PYTHONNOUSERSITE=1"
"""Keeps packages from outside away from the Python inside."""

Mount = Annotated[str, Field(pattern=r"^/[^:,\n]*(:/[^:,\n]*(:(ro|rw))?)?$")]
Word = Annotated[str, Field(pattern=r"^[^\n]+$")]


class Container(BaseModel):
    """The image of the workers and what starts it.

    Attributes:
        runtime: What starts it.
        image: A file, or a name as the runtime takes it.
        mounts: Folders, as `/data`, `/data:/data` or `/data:/data:ro`. What a run is known to need is mounted in any case.
        python: The Python inside that has the package.
        options: More options of the runtime.
    """

    model_config = ConfigDict(extra="forbid")
    runtime: Literal["pyxis", "apptainer", "singularity", "podman-hpc"]
    image: Word
    mounts: list[Mount] = Field(default_factory=list)
    python: Word = "python"
    options: list[Word] = Field(default_factory=list)

    @property
    def file(self) -> Path | None:
        """The image, if it is a file."""
        return Path(self.image) if self.image.startswith(("/", ".", "~")) or self.image.endswith(IMAGE_FILES) else None

    def check(self) -> None:
        """Raises UserError if the image is a file and is not there."""
        if self.file is not None and not self.file.exists():
            raise UserError(
                f"the image {self.image} was not found; correct image under container, or build it from env/Dockerfile "
                f"or env/apptainer.def (env/README.md)"
            )

    def node_checks(self) -> Iterator[str]:
        """Lines of a job script that end it where the node has not what the container needs."""
        if self.runtime != "pyxis":
            remedy = f"the command {self.runtime} was not found on $HOSTNAME; load its module under prolog in the site file"
            yield f'command -v {self.runtime} >/dev/null || {{ echo "shardmill: {remedy}" >&2; exit 1; }}'
        if self.file is not None:
            remedy = f"the image {_in_quotes(self.image)} was not found on $HOSTNAME; put it where compute nodes can read it"
            yield f'[ -r {shlex.quote(self.image)} ] || {{ echo "shardmill: {remedy}" >&2; exit 1; }}'

    def command(self, program: str, mounts: Sequence[str], folder: str, gpu: bool) -> str:
        """The words after `srun` and its options that run a program, itself words of a shell, inside.

        Args:
            program: The program, which begins with the Python inside.
            mounts: What to mount beside `mounts`, where it is outside.
            folder: The working directory.
            gpu: Whether it needs GPUs.
        """
        own = [mount if ":" in mount else f"{mount}:{mount}" for mount in self.mounts]
        taken = {mount.split(":")[1] for mount in own}
        pairs = [shlex.quote(mount) for mount in [*own, *(f"{each}:{each}" for each in mounts if each not in taken)]]
        pairs += [f"{folder}:{folder}" for folder in (TEMPORARY, CONTROL)]
        inside = f"sh -c {shlex.quote(_CHECK.replace('{image}', _in_quotes(self.image)))} sh {program}"
        return " ".join([*self._start(pairs, shlex.quote(folder), gpu), inside])

    def _start(self, pairs: Sequence[str], folder: str, gpu: bool) -> list[str]:
        image, options = shlex.quote(self.image), [shlex.quote(option) for option in self.options]
        if self.runtime == "pyxis":
            mounts = ",".join(pairs)
            more = ["--no-container-remap-root", "--no-container-entrypoint"]  # the user's own number, as squeue -u needs it
            return [
                f"--container-image={image}",
                f"--container-mounts={mounts}",
                f"--container-workdir={folder}",
                *more,
                *options,
            ]
        if self.runtime == "podman-hpc":
            # Leases of workers on the same node name processes, so all containers of a node see the same ones.
            shared = ["--rm", "--userns=keep-id", "--pid=host", "--network=host", "--ipc=host", "--entrypoint="]
            shared += [*(["--gpu"] if gpu else []), *(f"--env={shlex.quote(name)}" for name in PASSED)]
            return ["podman-hpc", "run", *shared, *(f"--volume={pair}" for pair in pairs), f"--workdir={folder}", *options, image]
        binds = [f"--bind={pair}" for pair in pairs]
        return [self.runtime, "exec", *(["--nv"] if gpu else []), *binds, f"--pwd={folder}", *options, image]


def _in_quotes(text: str) -> str:
    """A text for the inside of double quotes in a shell."""
    return re.sub(r'([\\"$`])', r"\\\1", text)
