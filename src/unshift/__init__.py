"""unshift: medical image segmentation on images from vendors, cameras, sites and modalities never seen."""

__version__ = "0.1.0"
