//! Takes the documents out of rows: what is large, or a file, becomes an object of its own.

use super::IngestError;
use crate::crypt::MacKey;
use crate::document::{DOCUMENT_MAX, DocumentKey, INLINE_MAX};
use crate::keys::PatientKey;
use crate::objects::{ObjectError, ObjectName, Objects};
use crate::source;
use crate::value::{self, Stored};
use std::collections::BTreeMap;
use std::io;
use std::sync::mpsc::{Receiver, SyncSender, channel, sync_channel};
use std::thread::{Scope, ScopedJoinHandle};
use tokio::runtime::Handle;

/// Takes a sealed document.
pub(super) type Keep<'a> = dyn FnMut(&ObjectName, Vec<u8>) -> Result<(), IngestError> + 'a;

/// Gives the documents among `values`, which are encoded, to `keep`, sealed, and leaves references in
/// their place.
pub(super) fn detach(
    naming: &MacKey,
    key: &DocumentKey<'_>,
    values: Vec<u8>,
    keep: &mut Keep<'_>,
) -> Result<Vec<u8>, IngestError> {
    if !has_documents(&values) {
        return Ok(values);
    }
    let (mut rest, mut out) = (values.as_slice(), Vec::new());
    while let Some(field) = value::take(&mut rest) {
        match value::stored(field) {
            Some(Stored::Bytes(bytes)) if bytes.len() > INLINE_MAX => {
                out.extend(seal(naming, key, bytes, keep)?);
            }
            Some(Stored::File(path)) => {
                let name = || path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                let unreadable = |source| IngestError::Unreadable { file: name(), source };
                let content = source::read_file(path, DOCUMENT_MAX).map_err(unreadable)?;
                let content = content.ok_or_else(|| {
                    unreadable(io::Error::other(format!("it has more than {DOCUMENT_MAX} bytes")))
                })?;
                if content.len() > INLINE_MAX {
                    out.extend(seal(naming, key, &content, keep)?);
                } else {
                    value::encode_bytes(&content, &mut out);
                }
            }
            _ => out.extend_from_slice(field),
        }
    }
    Ok(out)
}

/// Documents on their way to the store: a thread of its own writes them while the next are sealed.
/// At most three are in memory at once: one is sealed, one waits, one is written.
pub(super) struct Posted<'scope, 'env> {
    scope: &'scope Scope<'scope, 'env>,
    objects: &'env Objects,
    writer: Option<Writer<'scope>>,
    left: BTreeMap<ObjectName, (PatientKey, u64)>,
}

struct Writer<'scope> {
    send: SyncSender<(ObjectName, Vec<u8>)>,
    written: Receiver<ObjectName>,
    thread: ScopedJoinHandle<'scope, Result<(), ObjectError>>,
}

/// A document that is on disk: its name, whose it is, and how many bytes it has.
pub(super) type Arrived = (ObjectName, PatientKey, u64);

impl<'scope, 'env> Posted<'scope, 'env> {
    pub(super) fn new(scope: &'scope Scope<'scope, 'env>, objects: &'env Objects) -> Self {
        Self { scope, objects, writer: None, left: BTreeMap::new() }
    }

    /// Sends a sealed document of a patient off, unless it is on its way already; yields what has
    /// arrived meanwhile.
    pub(super) fn send(
        &mut self,
        name: &ObjectName,
        (patient, sealed): (&PatientKey, Vec<u8>),
    ) -> Result<Vec<Arrived>, ObjectError> {
        if self.left.contains_key(name) {
            return Ok(Vec::new());
        }
        self.left.insert(*name, (*patient, sealed.len() as u64));
        let (scope, objects) = (self.scope, self.objects);
        let writer = self.writer.get_or_insert_with(|| Writer::start(scope, objects));
        if writer.send.send((*name, sealed)).is_err() {
            // The thread ended because a document could not be written.
            return self.settle();
        }
        let written: Vec<_> = writer.written.try_iter().collect();
        Ok(self.arrived(written))
    }

    /// Waits until everything has arrived.
    pub(super) fn settle(&mut self) -> Result<Vec<Arrived>, ObjectError> {
        let Some(Writer { send, written, thread }) = self.writer.take() else {
            return Ok(Vec::new());
        };
        drop(send);
        thread.join().expect("writing an object does not panic")?;
        Ok(self.arrived(written.into_iter().collect()))
    }

    fn arrived(&mut self, written: Vec<ObjectName>) -> Vec<Arrived> {
        let of = |name| self.left.remove(&name).map(|(patient, bytes)| (name, patient, bytes));
        written.into_iter().filter_map(of).collect()
    }
}

impl<'scope> Writer<'scope> {
    fn start<'env>(scope: &'scope Scope<'scope, 'env>, objects: &'env Objects) -> Self {
        let (send, documents) = sync_channel::<(ObjectName, Vec<u8>)>(1);
        let (tell, written) = channel();
        // The store works for the thread as for the one that began it.
        let runtime = Handle::try_current().ok();
        let thread = scope.spawn(move || {
            let _inside = runtime.as_ref().map(Handle::enter);
            for (name, sealed) in documents {
                objects.put(&name, sealed)?;
                // Nobody listens any more when the ingest has failed.
                let _ = tell.send(name);
            }
            Ok(())
        });
        Self { send, written, thread }
    }
}

fn has_documents(mut values: &[u8]) -> bool {
    while let Some(field) = value::take(&mut values) {
        match value::stored(field) {
            Some(Stored::Bytes(bytes)) if bytes.len() > INLINE_MAX => return true,
            Some(Stored::File(_)) => return true,
            _ => {}
        }
    }
    false
}

fn seal(
    naming: &MacKey,
    key: &DocumentKey<'_>,
    content: &[u8],
    keep: &mut Keep<'_>,
) -> Result<Vec<u8>, IngestError> {
    let (reference, sealed) = key.seal(naming, content);
    keep(&reference.object, sealed)?;
    let mut field = Vec::new();
    reference.encode(&mut field);
    Ok(field)
}
