#!/usr/bin/env bash
# Chromium and its driver, for the tests in this folder. Does nothing where both are there.
#
#   install.sh          install what is missing: as root, on Debian or Ubuntu with apt
#   install.sh --check  only say what is missing
#
# Exit code 69: it cannot be had on this machine. 1: it should work here, but something failed.
set -euo pipefail

CANNOT_RUN=69
find_browser() { command -v chromium || command -v chromium-browser || command -v google-chrome; }

if find_browser >/dev/null && command -v chromedriver >/dev/null; then
  exit 0
fi
if [[ ${1:-} == --check ]]; then
  echo "chromium or chromedriver is missing; run: sudo tests/browser/install.sh" >&2
  exit $CANNOT_RUN
fi
if [[ $(id -u) != 0 ]] || ! command -v apt-get >/dev/null; then
  echo "chromium and chromedriver are missing, and only root on Debian can install them from here" >&2
  exit $CANNOT_RUN
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends chromium chromium-driver fonts-dejavu-core >/dev/null
find_browser >/dev/null && command -v chromedriver >/dev/null
