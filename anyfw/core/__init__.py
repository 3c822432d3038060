"""What everything else stands on: backends, arrays, parameters, layers, randomness, files. No maths."""
