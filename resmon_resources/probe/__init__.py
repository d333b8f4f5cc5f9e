"""The probe: the program that runs on a server, the framing of its answers, and their parser."""
