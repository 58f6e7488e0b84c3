"""Two forms of one network beside each other: what does the second one lose?

measures    the difference of two tensors, and of two masks
comparing   two forms on images, one after the other
summary     percentiles over the images
report      table, JSON, pictures and a page
"""
