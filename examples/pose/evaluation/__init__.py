"""What a trained network is worth: accuracy, cost, and pictures of what it learned."""
