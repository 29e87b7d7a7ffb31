"""Methods in which networks that learn along teach each other."""
