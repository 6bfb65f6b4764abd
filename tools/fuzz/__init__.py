"""`mesh fuzz`: frames that no client sends, against a node that must live with them."""
