"""A trained policy beside everything that one might do instead, on hosts that it never saw."""
