"""How the instruments learn to read: drawn images, damaged as generators damage them."""
