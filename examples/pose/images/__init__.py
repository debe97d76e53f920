"""Reading, drawing and resizing images."""
