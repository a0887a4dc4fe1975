//! Uploads and downloads, as the documents' 4.4 has them: paths, texts and JSON, and a page that shows the progress.
//!
//! ```text
//! cargo run --package upload --features program
//! curl -F file=@report.pdf http://127.0.0.1:8080/upload
//! curl -F files=@a.png -F files=@b.png http://127.0.0.1:8080/upload/multiple
//! ```
//!
//! - `files` has the routes
//! - `page` has the files of the page, which are a part of the program
//!
//! Files lie in `uploads` of the state directory, or in `uploads.dir`. `[uploads]` says how large they may be, how many, and of which types.

mod files;
mod page;
#[cfg(test)]
mod tests;
#[path = "../../texts.rs"]
mod texts;

use gin_worker::uploads::Uploads;
use gin_worker::{Config, Server, StartError};

fn server(config: &Config) -> Server {
    Server::new(config)
        .uploads()
        .middleware(texts::told)
        .error_handler(texts::refused)
        .group(page::own())
        .group(page::shared(&config.uploads))
        .group(files::routes())
        .group(Uploads::resumable("/tus"))
}

#[tokio::main]
async fn main() -> Result<(), StartError> {
    server(&Config::load()?).run().await
}
