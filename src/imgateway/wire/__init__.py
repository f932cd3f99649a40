"""The client protocol and the record formats: frames, messages, codecs, the session's state table. No I/O, no await."""
