"""Where EM begins: start methods, multi-start on a subsample, split and merge, outliers. It knows no whole fit."""
