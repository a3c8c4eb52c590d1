"""What this machine has and lacks, line by line, with what to do about it."""
