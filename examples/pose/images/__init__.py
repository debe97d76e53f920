"""Reading, decoding, letterboxing and drawing of images."""
