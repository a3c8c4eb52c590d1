"""The archives of BIMCV: the released BIMCV-R and raw BIMCV-COVID19+, with the columns that both have."""
