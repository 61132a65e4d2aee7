"""How a record is shown: on a terminal, as a picture, for machines."""
