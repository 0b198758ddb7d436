"""Cohorts: searches of the archive under a name, asked anew each time or frozen to a list of studies."""
