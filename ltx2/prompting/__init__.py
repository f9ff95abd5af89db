"""What stands around the encoding of a prompt: contexts kept on disk, the default negative prompt, enhancement."""
