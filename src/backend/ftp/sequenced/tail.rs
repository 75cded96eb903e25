//! The end of a file that is replaced: a client wrote the begin anew, and what stands behind that is
//! to stay.

use bytes::BytesMut;

use super::{SequentialFile, SequentialRead, SequentialWrite};
use crate::op::{Failure, FailureKind};

/// What is read at once.
const PIECE: usize = 64 * 1024;

/// Writes the old file's bytes from `from` to `to` into the transfer of the new one.
pub(super) async fn copy(
    file: &dyn SequentialFile,
    transfer: &mut dyn SequentialWrite,
    from: u64,
    to: u64,
) -> Result<(), Failure> {
    let mut old = file.open_old(from, to).await?;
    match copy_from(&mut *old, transfer, to - from).await {
        // The server's word that it sent all counts only where all was wanted.
        Ok(true) => old.finish().await,
        Ok(false) => {
            old.abort().await;
            Ok(())
        }
        Err(failure) => {
            old.abort().await;
            Err(failure)
        }
    }
}

/// Whether that was the old file's end.
async fn copy_from(
    old: &mut dyn SequentialRead,
    transfer: &mut dyn SequentialWrite,
    mut left: u64,
) -> Result<bool, Failure> {
    let mut piece = BytesMut::new();
    while left > 0 {
        piece.reserve(PIECE);
        if old.read(&mut piece).await? == 0 {
            return Err(Failure::backend(
                FailureKind::TransferCut,
                format!(
                    "the old file became shorter while it was replaced: {left} bytes of it are missing; write it again"
                ),
            ));
        }
        let wanted = piece.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        transfer.write(piece.split_to(wanted).freeze()).await?;
        left -= wanted as u64;
    }
    Ok(piece.is_empty() && old.read(&mut piece).await? == 0)
}
