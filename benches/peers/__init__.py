"""One module for each of the field's own systems; each runs in a host process of its own, in their virtual environment."""
