"""What can be taken away of a run, in the formats that people send each other."""
