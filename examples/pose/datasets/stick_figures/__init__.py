"""Generated articulated figures."""
