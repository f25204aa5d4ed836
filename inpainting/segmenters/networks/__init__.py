"""Segmenters that are models of the catalog, one module for each kind of network. Heavy libraries load late."""
