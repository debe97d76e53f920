"""Names in the exported SavedModel, which clients use as well; this imports nothing."""

IMAGES_SIGNATURE = "serving_default"
ENCODED_SIGNATURE = "serving_encoded"
SKELETON_ASSET = "skeleton.json"
SETTINGS_ASSET = "settings.json"
