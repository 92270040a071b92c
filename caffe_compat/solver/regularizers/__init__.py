"""What a solver adds to the gradient."""
