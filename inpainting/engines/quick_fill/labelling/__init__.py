"""Which source each pixel of a hole is copied from: a graph, its costs, and alpha-expansion."""
