"""Training runs: settings, order of things, what a run leaves on disk, and how it goes on after any end."""
