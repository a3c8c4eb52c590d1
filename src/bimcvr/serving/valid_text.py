"""Texts of requests: valid Unicode without control characters."""


def valid_text(text: str) -> str:
    """Refuse lone surrogates, which cannot be encoded, and control characters."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError("is not valid Unicode") from error
    if any(ord(letter) < 32 and letter not in "\t\n\r" for letter in text):
        raise ValueError("has control characters")
    return text
