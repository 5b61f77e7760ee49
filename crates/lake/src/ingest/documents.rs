//! Takes the documents out of rows: what is large, or a file, becomes an object of its own.

use super::IngestError;
use crate::document::{DOCUMENT_MAX, DocumentKey, INLINE_MAX};
use crate::lake::Lake;
use crate::source;
use crate::value::{self, Stored};
use std::io;

/// Stores the documents among `values`, which are encoded, and leaves references in their place.
/// Tells `stored` how many bytes were written.
pub(super) fn detach(
    lake: &Lake,
    batch: i64,
    key: &DocumentKey<'_>,
    values: Vec<u8>,
    stored: &mut dyn FnMut(u64),
) -> Result<Vec<u8>, IngestError> {
    if !has_documents(&values) {
        return Ok(values);
    }
    let (mut rest, mut out) = (values.as_slice(), Vec::new());
    while let Some(field) = value::take(&mut rest) {
        match value::stored(field) {
            Some(Stored::Bytes(bytes)) if bytes.len() > INLINE_MAX => {
                out.extend(store(lake, batch, key, bytes, stored)?);
            }
            Some(Stored::File(path)) => {
                let name = || path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                let unreadable = |source| IngestError::Unreadable { file: name(), source };
                let content = source::read_file(path, DOCUMENT_MAX).map_err(unreadable)?;
                let content = content.ok_or_else(|| {
                    unreadable(io::Error::other(format!("it has more than {DOCUMENT_MAX} bytes")))
                })?;
                if content.len() > INLINE_MAX {
                    out.extend(store(lake, batch, key, &content, stored)?);
                } else {
                    value::encode_bytes(&content, &mut out);
                }
            }
            _ => out.extend_from_slice(field),
        }
    }
    Ok(out)
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

fn store(
    lake: &Lake,
    batch: i64,
    key: &DocumentKey<'_>,
    content: &[u8],
    stored: &mut dyn FnMut(u64),
) -> Result<Vec<u8>, IngestError> {
    let (reference, sealed) = key.seal(lake.keys.naming(), content);
    let bytes = sealed.len() as u64;
    if !lake.index.has_document(&reference.object)? {
        lake.objects.put(&reference.object, sealed)?;
        stored(bytes);
    }
    lake.index.add_document((batch, key.patient()), &reference.object, bytes)?;
    let mut field = Vec::new();
    reference.encode(&mut field);
    Ok(field)
}
