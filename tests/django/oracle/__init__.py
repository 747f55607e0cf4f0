"""A Django site with real knox in it: what the crate is compared with."""
