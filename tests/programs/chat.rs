//! A chat of several workers and generations.
