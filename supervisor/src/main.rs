//! See the library.
fn main() -> std::process::ExitCode {
    gin_supervisor::run()
}
