"""Sweeps over hyper-parameters: one file in W&B's format, run on W&B or on one machine."""
