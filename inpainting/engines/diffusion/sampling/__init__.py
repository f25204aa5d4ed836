"""From noise to latents: noise schedules, the schedulers of diffusers, and the state of a sample between steps."""
