"""What the audit is expected to say of the folder of real public files: flags of a volume, or the reader's refusal."""

# Written from the collection's own description of its traits (body part, shape, spacing, header), before the audit
# was run on it. None of these has 96 slices of a whole chest: the repositories keep crops and reduced copies.
CIP = {"too_small"}
EXPECTED_FLAGS: dict[str, set[str]] = {
    # a crop around heart and aorta, 180 mm wide
    "totalsegmentator/aorta_report/ct_cropped.nii.gz": {"field_of_view"},
    # abdomen and pelvis, then abdomen of 90 mm, then upper abdomen of 40 mm
    "totalsegmentator/example_ct.nii.gz": {"not_chest"},
    "totalsegmentator/example_ct_sm.nii.gz": {"too_small", "field_of_view", "not_chest"},
    "totalsegmentator/example_ct_dicom_scrubbed": {"too_small", "field_of_view", "not_chest"},
    # 16 and 11 slices of a chest
    "lidc_idri_small/LIDC-IDRI-0001": {"too_small", "field_of_view"},
    "lidc_idri_small/LIDC-IDRI-0003": {"too_small", "field_of_view"},
    # half a chest, 156 mm wide
    "elastix_lung/3DCT_lung_baseline_small.mha": {"too_small", "field_of_view"},
    # whole chests on 64 × 64; the last is turned by 20° about the body's axis, which no scanner does
    "cip_chest/ct-64.nrrd": CIP,
    "cip_chest/ct-64Dicom": CIP,
    "cip_chest/TestInput.nrrd": CIP,
    "cip_chest/ct-64-transformed.nrrd": CIP | {"orientation"},
    # 1 mm of a chest
    "cip_chest/crop_ct_2slices.nrrd": {"too_small", "field_of_view"},
    # 16 × 16 pixels of a heart
    "pydicom_small/dicomdirtests/98892001/CT5N": {"too_small", "field_of_view"},
    # upper arm and chest wall, 158 mm wide
    "ibsi_sts/STS_005_CT_image.nii.gz": {"too_small", "field_of_view", "not_chest"},
}
# one volume in three files
EXPECTED_DUPLICATES = {"cip_chest/ct-64.nrrd", "cip_chest/ct-64Dicom", "cip_chest/ct-64-transformed.nrrd"}
