"""A site's own user and token models, in place of Django's and knox's."""
