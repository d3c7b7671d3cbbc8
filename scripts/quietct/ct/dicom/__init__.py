"""Reading CT series in DICOM: headers, order, Hounsfield units."""
