"""COCO keypoints 2017."""
