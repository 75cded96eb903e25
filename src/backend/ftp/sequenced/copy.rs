//! Keeps the end of a file that is replaced: a client rewrote its beginning, and the bytes after
//! that stay.

use bytes::BytesMut;

use super::{SequentialFile, SequentialRead, SequentialWrite};
use crate::op::{Failure, FailureKind};

/// Bytes per read.
const PIECE_SIZE: usize = 64 * 1024;

/// Copies the original file's bytes from `from` to `to` into the transfer of the new one.
pub(super) async fn copy_tail(
    file: &dyn SequentialFile,
    transfer: &mut dyn SequentialWrite,
    from: u64,
    to: u64,
) -> Result<(), Failure> {
    let mut original = file.start_read_original(from, to).await?;
    match copy_from(&mut *original, transfer, to - from).await {
        // The final reply matters only if the transfer was read to its end.
        Ok(true) => original.finish().await,
        Ok(false) => {
            original.abort().await;
            Ok(())
        }
        Err(failure) => {
            original.abort().await;
            Err(failure)
        }
    }
}

/// Returns whether that was the end of the original file.
async fn copy_from(
    original: &mut dyn SequentialRead,
    transfer: &mut dyn SequentialWrite,
    mut remaining: u64,
) -> Result<bool, Failure> {
    let mut piece = BytesMut::new();
    while remaining > 0 {
        piece.reserve(PIECE_SIZE);
        if original.read(&mut piece).await? == 0 {
            return Err(Failure::backend(
                FailureKind::TransferCut,
                format!(
                    "the original file became shorter while it was being replaced: {remaining} bytes are missing; upload it again"
                ),
            ));
        }
        let length = piece.len().min(usize::try_from(remaining).unwrap_or(usize::MAX));
        transfer.write(piece.split_to(length).freeze()).await?;
        remaining -= length as u64;
    }
    Ok(piece.is_empty() && original.read(&mut piece).await? == 0)
}
