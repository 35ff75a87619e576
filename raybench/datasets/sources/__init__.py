"""Where images come from: bundled, torchvision, an archive, a hub, the user's own files."""
