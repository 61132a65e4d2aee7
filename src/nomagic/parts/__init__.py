"""Plain PyTorch pieces, useful without the rest."""
