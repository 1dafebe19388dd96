"""Store formats: bytes in, values out; nothing here touches the world."""
