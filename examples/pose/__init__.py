"""Human pose estimation with box convolutions."""
