"""A web page that finds poses in the visitor's pictures and shows heatmaps and learned boxes."""
