#!/usr/bin/env bash
# Trains models/facades again, from the release of its photographs to a bundle with engines.
# The same command goes on where it was interrupted. Needs hdsynth[train,export,openvino].
#
#   models/reproduce-facades.sh RELEASE WORK
#
# HDSYNTH             the command, if it is not on the path
# BUDGET              share of the 20,416 training crops; 0.001 tries everything in a minute or two
# PERCEPTUAL_WEIGHTS  folder with SqueezeNet's weights, where they cannot be downloaded
set -euo pipefail
release=${1:?folder of the release} work=${2:?folder for data, runs and the bundle}
hdsynth=${HDSYNTH:-hdsynth}

crops() { awk -v n="$1" -v share="${BUDGET:-1}" 'BEGIN { n *= share; print (n < 4 ? 4 : int(n)) }'; }
train() { # OUTPUT CROPS OPTION...
    "$hdsynth" train "$work/data/train" -o "$work/$1" --images "$(crops "$2")" --norm batch \
        --scale 192 352 --perceptual-network squeezenet --name facades \
        ${PERCEPTUAL_WEIGHTS:+--perceptual-weights "$PERCEPTUAL_WEIGHTS"} "${@:3}"
}

"$hdsynth" data prepare facades "$release" "$work/data" --size 512

# Layout and brightness, without a discriminator.
train 1-layout 7060 --crop 96 --batch 4 --learning-rate 5e-4 --set decay=0 \
    --set adversarial=0 --set colour=20 --set ema_images=1500

# The full objective.
train 2-full 3756 --init "$work/1-layout" --crop 96 --batch 4 --learning-rate 4e-4 \
    --set decay=0 --set colour=40 --set style_colour=20

# The same with fixed statistics of the batch norms, on larger crops.
train 3-fixed 9600 --init "$work/2-full" --crop 128 --batch 2 --set decay=0.4 \
    --set freeze_norms=true --set colour=40 --set style_colour=20 --set ema_images=1000

"$hdsynth" export "$work/3-fixed/bundle"
echo "$work/3-fixed/bundle"
