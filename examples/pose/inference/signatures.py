"""Names of signatures and assets in the exported SavedModel. Clients use them, so no imports."""

IMAGES_SIGNATURE = "serving_default"
ENCODED_SIGNATURE = "serving_encoded"
BATCHED_SIGNATURE = "serving_batched"
FILE_SIGNATURES = (ENCODED_SIGNATURE, BATCHED_SIGNATURE)  # their input is picture files
SKELETON_ASSET = "skeleton.json"
SETTINGS_ASSET = "settings.json"
