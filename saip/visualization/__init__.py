"""Images of what an encoder sees and learns."""
