"""Text, images and audio in one vector space, and an index that follows the lake they come from."""
