//! Parts that are away at start, or later, or for ever.
