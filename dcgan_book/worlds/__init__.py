"""The drawn worlds: images whose every factor and every pixel is known."""
