#!/bin/sh
# `make demo`: samples of this host arrive in VictoriaMetrics where that is installed, else in cipush's own
# receiver. VictoriaMetrics gets a free loopback port and a directory that is removed at the end.
set -eu

if ! command -v victoria-metrics >/dev/null; then
  exec cipush demo "$@"
fi

data=$(mktemp -d "${TMPDIR:-/tmp}/cipush-demo.XXXXXX")
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
server='' demo=''

# In a session of its own, so that Ctrl-C reaches only this script, which then stops one after the other.
apart() {
  exec python3 -c 'import os, sys; os.setsid(); os.execvp(sys.argv[1], sys.argv[1:])' "$@"
}

finish() {
  trap - EXIT
  trap '' INT TERM
  for pid in $demo $server; do
    kill "$pid" 2>/dev/null || true
    wait "$pid" 2>/dev/null || true
  done
  rm -rf "$data"
}
trap finish EXIT
trap 'finish; exit 0' INT TERM

echo "VictoriaMetrics: http://127.0.0.1:$port (data in $data until the demo ends)" >&2
apart victoria-metrics -httpListenAddr="127.0.0.1:$port" -storageDataPath="$data" -search.latencyOffset=0s \
  -loggerLevel=ERROR >&2 &
server=$!
python3 - "http://127.0.0.1:$port/health" <<'PYTHON'
import sys, time, urllib.request
deadline = time.monotonic() + 20
while True:
    try:
        urllib.request.build_opener(urllib.request.ProxyHandler({})).open(sys.argv[1], timeout=2)
        break
    except OSError as error:
        if time.monotonic() > deadline:
            sys.exit(f"VictoriaMetrics did not start: {error}")
        time.sleep(0.1)
PYTHON

apart cipush demo --push "http://127.0.0.1:$port" "$@" &
demo=$!
status=0
wait "$demo" || status=$?
demo=''
exit "$status"
