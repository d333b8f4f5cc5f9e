"""The probe: program, framing, reading."""
