#!/bin/sh
# Everything that only a CUDA device can show, in one go: the tests marked gpu, then training beside TRL.
#
#   tools/gpu_checks.sh [WHEELS]
#
# WHEELS is a folder of wheels to use beside what is installed, for a machine without a network. What is printed goes to
# build/gpu too, or to $OUT where that is set; docs/benchmarks.md takes the tables, with the device's name and versions.
set -u
cd "$(dirname "$0")/.."
out=${OUT:-build/gpu}
mkdir -p "$out"
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1 TOKENIZERS_PARALLELISM=false
if [ $# -gt 0 ]; then
  site=$(mktemp -d)
  python3 -m pip install --quiet --no-index --no-deps --no-compile --target "$site" "$1"/*.whl || exit
  export PYTHONPATH="$PYTHONPATH:$site"
fi

{
  nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader
  python3 -c "import xtune.training.versions as v, torch; print(v.versions(), 'cuda', torch.version.cuda)"
  python3 -m pytest -m gpu tests/gpu
} 2>&1 | tee "$out/tests.log"

peer=$(python3 -c 'import os, trl; print(os.path.dirname(os.path.dirname(trl.__file__)))' 2>/dev/null)
for tuning in lora qlora full; do
  for shape in "512 8" "4096 1"; do
    set -- $shape
    echo "$tuning, length $1, $2 packs a step"
    python3 tools/bench_train.py --model random:tinyllama_1_1b --dtype bfloat16 --tuning "$tuning" --length "$1" \
      --batch "$2" --steps 20 --no-compile ${peer:+--peer-path "$peer"} 2>"$out/error.log" || tail -5 "$out/error.log"
  done
done 2>&1 | tee "$out/bench.md"
