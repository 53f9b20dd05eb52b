"""Starting parameters of EM: start methods, multi-start on a subsample, split and merge moves, outliers."""
