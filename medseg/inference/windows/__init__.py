"""Whole images through a network, window by window."""
