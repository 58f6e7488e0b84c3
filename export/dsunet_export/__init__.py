"""From a DSU-Net checkpoint to a verified artifact."""
