//! Reading an entry whole.

use std::{fs, io};

use bytes::Bytes;

use super::{
    EntryName, Files, LoadError,
    entries::{Found, examine},
};
use crate::{
    bundle::{AcceptedExport, UndecodableExport},
    disk::DiskError,
};

impl Files {
    pub(super) fn load(&self, name: EntryName) -> Result<AcceptedExport, LoadError> {
        let path = self.journal.join(name.to_string());
        let reason = match examine(&path) {
            // Its size is what its header says: reading it takes no more memory than that.
            Found::Entry(_) => match fs::read(&path) {
                Ok(bytes) => match AcceptedExport::decode(Bytes::from(bytes)) {
                    Ok(export) => return Ok(export),
                    Err(later @ UndecodableExport::LaterRelease { .. }) => {
                        return Err(LoadError::LaterRelease(later));
                    }
                    Err(UndecodableExport::Damaged { reason }) => reason,
                },
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    return Err(LoadError::Gone);
                }
                Err(error) => return Err(DiskError::of_read("read", &path, error).into()),
            },
            Found::Damaged(reason) => reason,
            Found::Later(later) => return Err(LoadError::LaterRelease(later)),
            Found::Unread(error) => return Err(error.into()),
            Found::Gone => return Err(LoadError::Gone),
        };
        if let Err(error) = self.quarantine(&path, &reason) {
            tracing::error!(%error, reason, "a damaged entry of the journal can't be moved aside");
        }
        Err(LoadError::Damaged { reason })
    }
}
