"""Pictures of what an encoder sees and learns."""
