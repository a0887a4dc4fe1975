//! x
pub mod machine;
