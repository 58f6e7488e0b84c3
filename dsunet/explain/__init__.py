"""Feature maps of both encoders, level by level, as in the paper's Figs. 1 and 2.

maps         the feature maps of an image
projections  their colours (PCA) and their points (t-SNE)
figure       the figure
"""
