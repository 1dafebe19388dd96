"""Where ACLs, streams, Windows times and the like go when a file is restored off Windows."""

from rehydrate.catalogue.windows_metadata.carried import Kept
from rehydrate.catalogue.windows_metadata.forms import WindowsMetadata, default_form, keep

__all__ = ["Kept", "WindowsMetadata", "default_form", "keep"]
