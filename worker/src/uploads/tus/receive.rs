//! The bytes of a request, on their way into an upload.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;

use axum::body::Body;
use futures_util::StreamExt;
use tokio::task::spawn_blocking;

use super::head;
use super::part::Part;
use crate::uploads::UploadError;
use crate::uploads::directory::Directory;
use crate::{Error, Result};

/// Bytes that are written at once.
const BLOCK: usize = 256 << 10;

/// Why no more bytes came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The request has ended.
    Whole,
    /// The worker drains: the client goes on at another one.
    Drained,
    /// The client, or its connection, has gone.
    Gone,
}

/// Place of an upload's bytes.
#[derive(Debug, Clone)]
pub(super) struct Receiver {
    pub(super) directory: Arc<Directory>,
    pub(super) quota: u64,
}

impl Receiver {
    /// Writes the bytes of a body behind those that the upload has, until the body ends or `drained` does. At most two blocks of it are in
    /// memory.
    ///
    /// # Errors
    /// If there are more bytes than the upload has left, or they cannot be written. What was written before stays.
    pub(super) async fn receive(
        &self,
        mut part: Part,
        body: Body,
        drained: impl Future<Output = ()>,
    ) -> Result<(Part, End)> {
        let mut drained = pin!(drained);
        let mut pieces = body.into_data_stream();
        let mut block = Vec::with_capacity(BLOCK);
        let end = loop {
            let piece = tokio::select! {
                biased;
                () = &mut drained => break End::Drained,
                piece = pieces.next() => piece,
            };
            let bytes = match piece {
                None => break End::Whole,
                Some(Err(_)) => break End::Gone,
                Some(Ok(bytes)) => bytes,
            };
            let left = part.record.length.saturating_sub(part.offset() + block.len() as u64);
            if bytes.len() as u64 > left {
                return Err(head::too_large(part.record.length));
            }
            block.extend_from_slice(&bytes);
            if block.len() >= BLOCK {
                (part, block) = self.write(part, block).await?;
            }
        };
        let (part, _) = self.write(part, block).await?;
        Ok((part, end))
    }

    /// Writes a block, and gives the emptied buffer back. If the request is dropped meanwhile, the block is written to its end.
    async fn write(&self, mut part: Part, mut block: Vec<u8>) -> Result<(Part, Vec<u8>)> {
        let Self { directory, quota } = self.clone();
        blocking(move || {
            if !block.is_empty() {
                part.append(&directory, quota, &block)?;
            }
            block.clear();
            Ok((part, block))
        })
        .await
    }
}

/// Runs this where it may wait for the disk.
pub(super) async fn blocking<T: Send + 'static>(
    run: impl FnOnce() -> Result<T, UploadError> + Send + 'static,
) -> Result<T> {
    match spawn_blocking(run).await {
        Ok(done) => done.map_err(Error::from),
        Err(panicked) => Err(Error::internal(panicked)),
    }
}
