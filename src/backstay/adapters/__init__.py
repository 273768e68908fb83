"""The ports made real. One package or module per outside thing; nothing but wiring imports these."""
