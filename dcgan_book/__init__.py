"""What the book *Inside a DCGAN* is made with: one module per chapter, and what they share."""

from dcgan_book.memory import give_back_after_cells

give_back_after_cells()
