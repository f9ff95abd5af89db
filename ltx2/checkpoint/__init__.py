"""From files to networks: reading, name tables, recognising releases, strict loading, LoRAs."""
