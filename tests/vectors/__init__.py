"""The formats, pinned for ever: vectors that declare their outcome, and the second implementation that wrote them."""
