"""Checks of a plan by code that shares nothing with the model."""
