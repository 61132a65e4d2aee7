"""The pictures of what probes saw: rows in, pictures as data out, all of them bounded."""
