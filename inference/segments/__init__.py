"""Body regions of a scan and the segments that are cut for them (seed 002)."""
