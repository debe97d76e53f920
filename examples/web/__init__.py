"""A page that finds poses in the visitor's own pictures, and shows what the network looked at."""
