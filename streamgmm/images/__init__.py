"""Images: their pixels as rows of a mixture, and its components as segments."""
