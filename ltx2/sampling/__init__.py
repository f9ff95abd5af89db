"""Schedules, solvers, noise and the loop that turns noise into latents."""
