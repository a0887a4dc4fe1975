//! The packages of `systemd/package`: their contents, and what they do to services under load on a Debian of its own.

mod contents;
mod deb_life;
mod deb_that_is_unfit;
mod machine;
mod rpm_life;
