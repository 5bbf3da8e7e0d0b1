"""A fusion as a picture: what is drawn where, in plain numbers and texts. No drawing here."""
