"""Examples of models built with box convolutions."""
