"""The codecs of Windows chunks: strict decoders of our own, and faster ones where they exist."""
