"""What the book *Inside a DCGAN* is made with: one module per chapter, and what they share."""
