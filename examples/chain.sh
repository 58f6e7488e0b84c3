#!/usr/bin/env bash
# The whole chain of commands: synthetic scenes, training, evaluation, export, masks.
#
#     examples/chain.sh [FOLDER] [SCENES] [EPOCHS]
#
# By default, it trains `nano` for two epochs on 200 scenes, which takes some minutes on two cores.
# This is too short for good masks.  To use your own images and masks, omit the first step.
set -euo pipefail
folder=${1:-build/chain}
scenes=${2:-200}
epochs=${3:-2}

# 1. Generate a training set and a held-out test set.
dsunet generate -o "$folder/scenes" --count "$scenes" --seed 1
dsunet generate -o "$folder/held-out" --count 20 --seed 2

# 2. Train from scratch, including the encoders, since there are no weights for them.
dsunet train --dataset "$folder/scenes" --preset nano --train-encoders --epochs "$epochs" -o "$folder/run"

# 3. Export artifacts in FP32 and FP16, verified against PyTorch.
dsunet-export onnx "$folder/run/checkpoint.safetensors" -o "$folder/nano.onnx"
dsunet-export onnx "$folder/run/checkpoint.safetensors" --precision fp16 -o "$folder/nano16.onnx"

# 4. Evaluate the checkpoint and the artifacts, in the paper's metrics.
dsunet evaluate "$folder/run/checkpoint.safetensors" "$folder/nano.onnx" "$folder/nano16.onnx" \
    --dataset held-out="$folder/held-out" -o "$folder/report"

# 5. Predict masks.
dsunet-run predict "$folder/nano.onnx" "$folder/held-out/Image" -o "$folder/masks" --overlay
