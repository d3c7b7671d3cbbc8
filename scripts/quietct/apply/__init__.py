"""A trained network on people's own scans: the command `quietct`, the rule `denoise_dicom`, weights to pass on."""
