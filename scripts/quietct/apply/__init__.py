"""A trained network at work on scans of its own: the command `quietct`, rule `denoise_dicom`, weights to pass on."""
