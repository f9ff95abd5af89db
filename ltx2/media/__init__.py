"""Reading, preparing, encoding and muxing of pictures, video and sound."""
