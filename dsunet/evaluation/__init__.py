"""How good masks are, in the field's own metrics, and the paper's figures to put beside them."""
