"""Leeds Sports Pose Extended (LSPET)."""
