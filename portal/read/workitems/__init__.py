"""The reading worklist as DICOM work items (UPS-RS, PS3.18 chapter 11; PS3.4 annex CC)."""
