"""What a clip will look like, roughly and at once: latents to colours without a decoder."""
