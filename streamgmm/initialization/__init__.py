"""Starting parameters: subsample, k-means and other starts, multi-start, split and merge, outliers. It knows no whole fit."""
