#!/bin/sh
# Makes one virtual environment for each peer, with the versions of locks/: install.sh FOLDER [PEER...]. Downloads from PyPI.
set -u
here=$(cd "$(dirname "$0")" && pwd)
folder=${1:?usage: install.sh FOLDER [PEER...]}
shift
mkdir -p "$folder"
[ $# -gt 0 ] || set -- distilabel curator datatrove designer
failed=0
for peer in "$@"; do
    lock=$here/locks/$peer.txt
    stamp=$folder/$peer/lock.txt
    if [ -f "$stamp" ] && cmp -s "$lock" "$stamp"; then
        echo "$peer: there already"
        continue
    fi
    rm -rf "${folder:?}/$peer"
    if "${PYTHON:-python3}" -m venv "$folder/$peer" &&
        "$folder/$peer/bin/python" -m pip install --disable-pip-version-check --quiet --no-deps -r "$lock" > "$folder/$peer.log" 2>&1; then
        cp "$lock" "$stamp"
        echo "$peer: $(grep -c == "$lock") packages"
    else
        failed=1
        echo "$peer: could not be installed; the end of $folder/$peer.log:"
        tail -n 3 "$folder/$peer.log"
    fi
done
exit $failed
