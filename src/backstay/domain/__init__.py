"""What things are and what to decide. Pure: standard library only, no clock, no I/O."""
