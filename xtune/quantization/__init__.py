"""Weights that are held or stored in few bits."""
