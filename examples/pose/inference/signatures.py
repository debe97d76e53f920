"""Names of signatures and assets in the exported SavedModel. Clients use them, so no imports."""

IMAGES_SIGNATURE = "serving_default"
ENCODED_SIGNATURE = "serving_encoded"
SKELETON_ASSET = "skeleton.json"
SETTINGS_ASSET = "settings.json"
