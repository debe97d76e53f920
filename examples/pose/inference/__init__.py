"""From image files to joints: predictors, exported models, and their names."""
