"""What a name may hold: a rule of the format, and not of the Unicode tables that a Python happens to ship.

`str.isprintable` would refuse on an older Python what a newer one has written.
"""

import re
from typing import Final

NAME_BYTES_MAX: Final = 255

# Control characters, line and paragraph separators, lone surrogates.
_UNNAMEABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def is_name(text: str) -> bool:
    """Tell whether `text` may name an event type or an app: 1 to 255 bytes of UTF-8 without control characters."""
    return 0 < len(text) <= NAME_BYTES_MAX and not _UNNAMEABLE.search(text) and len(text.encode()) <= NAME_BYTES_MAX
