"""How the shipped networks were trained. Nothing here is imported when trtlab runs."""
