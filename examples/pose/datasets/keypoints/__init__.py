"""Your own pictures with keypoints, in the format of COCO. README.md describes it."""
