"""Text from others, made safe to print: one line, no terminal sequences."""


def printable(text: str, /) -> str:
    r"""`text` with every character that is not printable (`str.isprintable`) written as `\n`, `\x1b`, `\u202e` or so.

    Line breaks, ANSI sequences and direction overrides then can't forge lines or colours.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
