"""What Backstay needs from the world, as small protocols in the words of the domain."""
