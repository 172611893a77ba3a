"""Networks from images in [0, 1] to logits, one family a file."""
