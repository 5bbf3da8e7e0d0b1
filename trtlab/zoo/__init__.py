"""The models that come with trtlab: shipped with labels, or made from seeded weights."""
