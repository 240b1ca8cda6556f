"""What the book *Inside a DCGAN* is made with: its chapters, and the wings that they share (see the README)."""
