"""Raw samples: their pure parts."""
