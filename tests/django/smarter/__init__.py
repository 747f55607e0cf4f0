"""The tables and the rules that Smarter adds to knox, as far as the tests need them."""
