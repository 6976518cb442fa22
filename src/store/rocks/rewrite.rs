//! Rewriting sparse segments, where the file system cannot give back a part of a file.
//!
//! What lives in the segment is copied into extents of the active one and synced; then one commit changes the run's
//! record from the old extent to the new ones. It holds only if the run still has the old extent, so that a release in
//! between wins. A crash before the commit leaves unadopted extents, which the sweep finds; one after it leaves a dead
//! extent. Once nothing lives in the segment it is unlinked as any other.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use super::buffer::AlignedBuffer;
use super::committer::Change;
use super::reclaim::Reclaimer;
use super::records::{Extent, SegmentId};
use super::segment::io_failure;
use super::space::{Claim, ClaimLease};
use crate::store::run::Lease;
use crate::store::{Outcome, StoreError};

impl Reclaimer {
    /// Moves everything that lives in `id` elsewhere.
    pub(super) fn rewrite(&self, id: SegmentId) -> Result<(), StoreError> {
        let file = File::open(self.space.dir.join(id.file_name())).map_err(io_failure)?;
        for (extent, owner) in self.owned(id)? {
            let claim = Arc::new(Claim::new(Arc::clone(&self.space)));
            let copied = self.copy(&file, &extent, &claim)?;
            if self.committer.change_blocking(Change::Move(owner.run, extent, copied))? == Outcome::Applied {
                Box::new(ClaimLease(claim)).keep();
            }
        }
        Ok(())
    }

    /// Copies an extent's bytes into extents held by `claim`, durably.
    fn copy(&self, file: &File, extent: &Extent, claim: &Claim) -> Result<Vec<Extent>, StoreError> {
        let mut copies = Vec::new();
        let mut done = 0;
        while done < extent.length {
            let taken = self.allocator.take_blocking(extent.length - done)?;
            claim.add(taken.extent);
            let copy = Extent { length: taken.extent.length.min(extent.length - done), ..taken.extent };
            let mut written = 0;
            while written < copy.length {
                let mut buffer = AlignedBuffer::new(Some(copy.length - written));
                let step = usize::try_from(copy.length - written).unwrap_or(usize::MAX).min(buffer.room_len());
                let bytes = &mut buffer.room()[..step];
                file.read_exact_at(bytes, extent.offset + done + written).map_err(io_failure)?;
                buffer.advance(step);
                buffer.pad();
                taken.segment.write(copy.offset + written, buffer.as_slice())?;
                written += step as u64;
            }
            taken.segment.sync_blocking()?;
            copies.push(copy);
            done += copy.length;
        }
        Ok(copies)
    }
}
