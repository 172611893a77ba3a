"""The screens, one file each. They may import widgets and the rest of the launcher."""
