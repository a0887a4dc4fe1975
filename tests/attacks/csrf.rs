//! Pages of other origins.
