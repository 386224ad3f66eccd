"""Recurrent proximal policy optimisation for masked, factored actions whose heads depend on each other."""
