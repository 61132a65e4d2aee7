"""The advice, one practice a file; the folders are the catalogue's categories."""
