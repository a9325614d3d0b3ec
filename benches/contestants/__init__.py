"""One module for each contestant; each runs in a host process of its own (see `base`)."""
