"""Patients, studies and volumes of a synthetic cohort."""
