//! `[app]`

use std::path::PathBuf;

use serde::Deserialize;

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The password of `admin`, for the first start.
    pub admin_password_file: Option<PathBuf>,
}
