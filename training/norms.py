"""Batch norm statistics that belong to the averaged weights."""

from __future__ import annotations

import torch
from torch import nn

from model.inputs import network_input
from training.config import TrainConfig
from training.data import PairDataset, run_loader
from training.state import TrainingState

BATCHES = 64


def settle_norms(state: TrainingState, config: TrainConfig, dataset: PairDataset) -> None:
    """Measure the statistics of every batch norm of the averaged networks anew.

    While training they follow the current weights, and the averaged weights make other
    activations. Takes ``BATCHES`` batches of training crops; nothing to do for instance norm.
    """
    norms = [m for m in state.averaged.modules() if isinstance(m, nn.BatchNorm2d)]
    if not norms:
        return
    device = next(state.averaged.parameters()).device
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean over all batches
        norm.train()
    end = BATCHES * config.batch
    for batch in run_loader(dataset, 0, end, config.batch, config.workers):
        label, instance, index = (batch[k].to(device) for k in ("label", "instance", "index"))
        real = batch["image"].to(device).float().div(127.5).sub(1.0)
        with torch.no_grad():
            styles = state.averaged["encoder"](real, index) if state.encoder else None
            state.averaged["generator"](network_input(state.input, label, instance, styles))
    for norm in norms:
        norm.eval()
