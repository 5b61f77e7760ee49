//! Takes the documents out of rows: what is large, or a file, becomes an object of its own.

use super::IngestError;
use crate::crypt::MacKey;
use crate::document::{DOCUMENT_MAX, DocumentKey, INLINE_MAX};
use crate::objects::ObjectName;
use crate::source;
use crate::value::{self, Stored};
use std::io;

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
