"""Records to what people look at: rows, figures, widgets, an HTML report."""
