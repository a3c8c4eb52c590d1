"""What the tests of the toys' suite share."""

ABSENT = "hf-hub:nobody/no-such-model"
SMALL = ("--resamples", "200", "--jobs", "2")
