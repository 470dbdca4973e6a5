"""Configuration of data sets, and code that both halves of the tool share."""

from conceptrsa.bids_config.reader import load_dataset_config

__all__ = ["load_dataset_config"]
