"""What reports are made of.

html_page      self-contained HTML pages: tables and embedded images
contact_sheet  contact sheets of images and masks
"""
