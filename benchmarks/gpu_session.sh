#!/usr/bin/env bash
# Run all tests and benchmarks that need a GPU, on a bare machine, within a quarter of an hour.
#
#     benchmarks/gpu_session.sh [--dry-run] [--only N] [--list] PACKAGES RESULTS
#
# PACKAGES is a folder with wheels for this machine, including this project's (`pip wheel --no-deps
# .`), and with packages as NAME.tar.xz, complete or in pieces NAME.tar.xz.00, .01 and so on, which
# may arrive over several calls.  Nothing is downloaded.  Requirements: Python 3.11 or newer with pip
# (PYTHON selects it), an NVIDIA driver, and PyTorch and the other packages, installed or in PACKAGES.
# RESULTS receives a JSON file, a log, and the exit code and seconds of each step, and session.json
# with all of them, which is also printed as the last line.
#
# Steps, the most informative first: 0 machine and packages, 1 tests and parity of PyTorch,
# 2 latency of PyTorch, ceilings and branches, 3 training, 4 TensorRT for RTX, 5 ONNX Runtime.  If a
# step fails or exceeds its time limit, that is recorded and the next step starts.  Step 0 also
# starts the export of the artifacts for steps 4 and 5 on the CPU, in the background.
#
# --only N    run one step, after step 0 has run; step 0 may run again, to add new packages
# --dry-run   run on a CPU with `nano` and few calls
# --list      print the steps and their time limits
#
# The environment and the artifacts are kept in $TMPDIR/dsunet-gpu-session for later calls.
set -euo pipefail

usage() { sed -n '2,/^set /p' "$0" | sed '$d; s/^# \{0,1\}//'; }

dry='' only='' list=''
while [[ ${1-} == -* ]]; do
    case $1 in
        --dry-run) dry=1 ;;
        --only)
            only=${2-}
            if [[ ! $only =~ ^[0-5]$ ]]; then
                echo "gpu_session.sh: --only needs a step from 0 to 5" >&2
                exit 2
            fi
            shift ;;
        --list) list=1 ;;
        --help) usage; exit ;;
        *) echo "gpu_session.sh: unknown option $1: see --help" >&2; exit 2 ;;
    esac
    shift
done
if [[ -z $list && ( $# -ne 2 || ! -d ${1-} ) ]]; then
    echo "gpu_session.sh: PACKAGES must be an existing folder, and RESULTS is required: see --help" >&2
    exit 2
fi

root=$(cd "$(dirname "$0")/.." && pwd)
packages=$(cd "${1:-.}" && pwd)
work=${TMPDIR:-/tmp}/dsunet-gpu-session
python=$work/venv/bin/python
preset=large device=cuda
if [[ $dry ]]; then preset=nano device=cpu; fi
if [[ -z $list ]]; then
    mkdir -p "$work" "$2"
    results=$(cd "$2" && pwd)
    export DSUNET_RESULTS=$results
    export PYTHONPATH=$root:$root/export:$root/runtime${PYTHONPATH:+:$PYTHONPATH} PYTHONUNBUFFERED=1
    export TORCHINDUCTOR_CACHE_DIR=$work/inductor
fi
machine=(--preset "$preset" --device "$device" --work "$work")

# Create an environment with the packages of the existing Python and those in PACKAGES.
install() {
    local system_python=${PYTHON:-python3} site wheel wheels=()
    "$system_python" -c 'import sys; assert sys.version_info >= (3, 11), "Python 3.11 or newer is needed"'
    nvidia-smi || echo "nvidia-smi does not run"
    [[ -e $python ]] || "$system_python" -m venv --without-pip "$work/venv"
    site=$("$python" -c 'import site; print(site.getsitepackages()[0])')
    "$system_python" -c 'import site; print(*site.getsitepackages(), sep="\n")' >"$site/system.pth"
    for wheel in "$packages"/*.whl; do
        [[ ! -e $wheel ]] || wheels+=("$wheel")
    done
    if ((${#wheels[@]})); then
        "$system_python" -m pip --python "$python" install --quiet --no-index --no-deps --no-compile \
            --no-cache-dir --upgrade "${wheels[@]}"
    fi
    mkdir -p "$work/pieces"
    for piece in "$packages"/*.tar.xz*; do
        [[ ! -e $piece ]] || cp "$piece" "$work/pieces"
    done
    for first in "$work"/pieces/*.tar.xz "$work"/pieces/*.tar.xz.00; do
        [[ -e $first ]] || continue
        rm -rf "$work/unpacked"
        mkdir "$work/unpacked"
        if cat "${first%.00}"* | xz -dc -T0 | tar -x -C "$work/unpacked"; then
            cp -r "$work/unpacked/." "$site"
            rm "${first%.00}"*
        else
            echo "not complete yet: $first"
        fi
    done
    # An export that runs already goes on; it holds the lock that later steps wait for.
    # The export uses few of the cores, so that it does not disturb the measurements.
    local cores=()
    if (($(nproc) >= 8)); then cores=(taskset -c "$(($(nproc) * 5 / 8))-$(($(nproc) - 1))"); fi
    setsid flock --nonblock "$work/exporting" "${cores[@]}" "$python" "$root/benchmarks/gpu_artifacts.py" \
        --preset "$preset" --device "$device" --work "$work" >>"$results/gpu_artifacts.log" 2>&1 </dev/null &
    cd "$root/benchmarks"
    "$python" gpu_packages.py
}

# NUMBER NAME SECONDS COMMAND...; the name is that of the result file and of the log.
step() {
    local number=$1 name=$2 limit=$3 begun=$SECONDS code=0
    shift 3
    if [[ $list ]]; then echo "$number $name, $limit s: $*"; return; fi
    if [[ $only && $only != "$number" ]]; then return; fi
    echo "== $number $name"
    if ((number >= 4)); then flock --timeout 120 "$work/exporting" true || true; fi
    rm -f "$results/$name".{json,log,step}
    timeout --kill-after=10 "$limit" "$@" >"$results/$name.log" 2>&1 || code=$?
    echo "$number $code $((SECONDS - begun)) $limit" >"$results/$name.step"
    echo "   exit code $code after $((SECONDS - begun)) s"
}

script() { step "$1" "$2" "$3" "$python" "$root/benchmarks/$4" "${@:5}"; }

export -f install
export packages root work python results preset device
quick=(--rounds 3 --seconds 1) tests=() few=() branches=() photographs=(--images 32 --workers 8)
if [[ $dry ]]; then
    quick=(--rounds 2 --seconds 0.2) tests=(tests/runtime/cuda/test_contract.py)
    few=(--batches 1 2 --side 512) branches=(--batch 1 --repeats 1 --side 512)
    photographs=(--images 8 --workers 1 --rounds 1 --steps 1)
fi

step 0 gpu_packages 60 bash -euo pipefail -c install
script 1 gpu_tests 70 gpu_tests.py "${tests[@]}"
script 1 gpu_parity 80 gpu_parity.py "${machine[@]}"
script 2 gpu_batches_torch 200 gpu_batches.py "${machine[@]}" "${few[@]}" "${quick[@]}" \
    --name batches_torch --variants torch_eager torch_eager_captured \
    torch_compiled_captured torch_streams_captured torch_tanh_captured
script 2 gpu_branches 60 gpu_branches.py "${machine[@]}" "${branches[@]}"
script 3 "training_${device}_$preset" 130 training.py --preset "$preset" --device "$device" \
    --precision bf16 --rounds 3 "${photographs[@]}"
script 4 gpu_rtx 150 gpu_rtx.py "${machine[@]}" "${quick[@]}"
script 5 gpu_selftests 60 gpu_selftests.py "${machine[@]}"
script 5 gpu_batches_onnxruntime 90 gpu_batches.py "${machine[@]}" "${few[@]}" "${quick[@]}" \
    --name batches_onnxruntime --variants onnxruntime_fp16 onnxruntime_fp32
if [[ -z $list ]]; then
    "${PYTHON:-python3}" "$root/benchmarks/gpu_document.py" "$results"
fi
