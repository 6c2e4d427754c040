"""What is shown at one time: the board's pages and the dialogs over them."""
