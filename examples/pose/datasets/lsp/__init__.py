"""Leeds Sports Pose (LSP)."""
