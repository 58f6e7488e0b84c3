#!/usr/bin/env bash
# The whole chain in plain commands: scenes, training, evaluation, export, masks.
#
#     examples/chain.sh [FOLDER] [SCENES] [EPOCHS]
#
# By default 200 scenes and two epochs of `nano`, a few minutes on two cores: enough to see every step
# work, not enough for good masks.  With your own images and masks, leave the first step out.
set -euo pipefail
folder=${1:-build/chain}
scenes=${2:-200}
epochs=${3:-2}

# 1. Images and masks for training, and held-out ones for evaluation.
dsunet generate -o "$folder/scenes" --count "$scenes" --seed 1
dsunet generate -o "$folder/held-out" --count 20 --seed 2

# 2. Training, from scratch: without pretrained weights the encoders are trained too.
dsunet train --dataset "$folder/scenes" --preset nano --train-encoders --epochs "$epochs" -o "$folder/run"

# 3. Evaluation.
dsunet evaluate "$folder/run/checkpoint.safetensors" --dataset held-out="$folder/held-out" -o "$folder/report"

# 4. An artifact, verified against PyTorch, and the same in FP16.
dsunet-export onnx "$folder/run/checkpoint.safetensors" -o "$folder/nano.onnx"
dsunet-export onnx "$folder/run/checkpoint.safetensors" --precision fp16 -o "$folder/nano16.onnx"

# 5. The accuracy of both artifacts, in the metrics of the paper.
dsunet evaluate "$folder/run/checkpoint.safetensors" "$folder/nano.onnx" "$folder/nano16.onnx" \
    --dataset held-out="$folder/held-out"

# 6. Masks.
dsunet-run predict "$folder/nano.onnx" "$folder/held-out/Image" -o "$folder/masks" --overlay
