"""rehydrate restores files from deduplicated backup stores."""
