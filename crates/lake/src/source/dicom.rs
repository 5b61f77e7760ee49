//! Tables as DICOM files: a row for each, its attributes as columns, the file as a document.
//!
//! ```toml
//! [sources.pacs]
//! type = "dicom"
//! path = "images"                          # a file, or a folder with *.dcm
//! zone = "Europe/Amsterdam"                # of times that are noted without an offset
//!
//! [tables.image]
//! from = "pacs"
//! patient = "patnr"
//!
//! [tables.image.columns]
//! patnr    = { type = "text", path = "PatientID", key = true }
//! modality = { type = "text", path = "Modality", tags = ["imaging"] }
//! taken    = { type = "date", path = "(0008,0020)", tags = ["imaging"] }
//! content  = { type = "bytes", path = "@content", tags = ["imaging"] }
//! ```
//!
//! A path is the keyword or the tag of an attribute of the data set itself; several values have `\`
//! between them, as in the file. Reading stops before the pixels and skips sequences without
//! keeping them, so that neither length nor depth of a hostile file matters. `where` compares
//! attributes. Absent on purpose: pixels, deflated files.

use super::files::{self, Files, Found};
use super::{Content, Record, Rows, Selection, Setting, Shape, Source, Type, Unreadable};
use super::{ZONE, ZONE_SETTING, local};
use crate::catalogue::Table;
use crate::crypt::MacKey;
use crate::document::DOCUMENT_MAX;
use crate::finding::Findings;
use crate::hole::Hole;
use dicom_core::Tag;
use dicom_core::dictionary::DataDictionary;
use dicom_core::header::Header;
use dicom_dictionary_std::{StandardDataDictionary, tags, uids};
use dicom_encoding::transfer_syntax::{TransferSyntax, TransferSyntaxIndex};
use dicom_parser::dataset::LazyDataToken;
use dicom_parser::dataset::lazy_read::LazyDataSetReader;
use dicom_transfer_syntax_registry::TransferSyntaxRegistry;
use jiff::tz::TimeZone;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufReader, Cursor, Read, Seek};

/// The longest attribute that is taken, in bytes.
const VALUE_MAX: u32 = 64 << 10;

/// The longest header of a file before its data set, in bytes.
const META_MAX: u32 = 64 << 10;

/// How deep sequences may lie in each other.
const DEPTH_MAX: usize = 64;

const WHAT: &str = "DICOM file that is read here";

const SETTINGS: &[Setting] = &[files::PATH, ZONE_SETTING];

pub(super) static TYPE: Type = Type {
    name: "dicom",
    settings: SETTINGS,
    select: Selection { shape: None, needed: false, filter: true, watermark: false },
    path: Some(Shape {
        text: "the keyword or the tag of a DICOM attribute, such as `PatientID` or `(0010,0020)`, or `@content`, `@name` or `@size`",
        fits: |text| Path::new(text).is_some(),
    }),
    open: |folder, settings| {
        let files = Files::new(folder, settings, &[".dcm"]);
        Box::new(Dicom { files, zone: local::zone(settings.get(ZONE.name)) })
    },
};

struct Dicom {
    files: Files,
    zone: Option<TimeZone>,
}

impl Source for Dicom {
    fn content(&mut self, _: &Table, naming: &MacKey) -> Result<Content, Unreadable> {
        self.files.content(naming)
    }

    fn rows<'a>(
        &'a mut self,
        table: &'a Table,
        findings: &mut Findings,
    ) -> Option<Box<dyn Rows + 'a>> {
        let files = self.files.listed(findings)?.into_iter();
        let path = |text: &String| Path::new(text).unwrap_or(Path::Name);
        let filter = table.origin.filter.iter();
        Some(Box::new(Images {
            table,
            columns: table.origin.paths.iter().map(path).collect(),
            filter: filter.map(|(text, value)| (path(text), value.as_str())).collect(),
            zone: self.zone.as_ref(),
            files,
        }))
    }
}

/// Where a value stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Path {
    Attribute(Tag),
    Content,
    Name,
    Size,
}

impl Path {
    fn new(text: &str) -> Option<Self> {
        match text {
            "@content" => Some(Self::Content),
            "@name" => Some(Self::Name),
            "@size" => Some(Self::Size),
            text => StandardDataDictionary.parse_tag(text).map(Self::Attribute),
        }
    }
}

/// A row for each file.
struct Images<'a> {
    table: &'a Table,
    columns: Vec<Path>,
    filter: Vec<(Path, &'a str)>,
    zone: Option<&'a TimeZone>,
    files: std::vec::IntoIter<Found>,
}

impl Rows for Images<'_> {
    fn next(&mut self, record: &mut Record, findings: &mut Findings) -> bool {
        while let Some(file) = self.files.next() {
            let paths = self.columns.iter().chain(self.filter.iter().map(|(path, _)| path));
            let tags = paths.filter_map(|path| match path {
                Path::Attribute(tag) => Some(*tag),
                _ => None,
            });
            match open(&file, &tags.collect()) {
                Err(hole) => findings.add(&file.name, None, hole),
                Ok((size, values)) => {
                    if self.fill((&file, size), &values, record, findings) {
                        return true;
                    }
                }
            }
        }
        false
    }
}

impl Images<'_> {
    fn fill(
        &self,
        (file, size): (&Found, u64),
        values: &BTreeMap<Tag, String>,
        record: &mut Record,
        findings: &mut Findings,
    ) -> bool {
        let text = |path: &Path| match path {
            Path::Attribute(tag) => values.get(tag).cloned().unwrap_or_default(),
            Path::Name => file.within.clone(),
            Path::Size => size.to_string(),
            Path::Content => String::new(),
        };
        if !self.filter.iter().all(|(path, value)| text(path) == *value) {
            return false;
        }
        record.begin(&file.name, None);
        for (column, path) in self.table.columns.iter().zip(&self.columns) {
            if *path == Path::Content {
                record.file(&file.path);
                continue;
            }
            let text = local::compact(column.kind, &text(path), self.zone);
            if text.is_err() {
                findings.add(&file.name, None, Hole::NoZone { column: column.name.clone() });
            }
            record.text(text.unwrap_or_default().as_bytes());
        }
        true
    }
}

/// The size of a file and its attributes with these tags.
fn open(file: &Found, wanted: &BTreeSet<Tag>) -> Result<(u64, BTreeMap<Tag, String>), Hole> {
    let unreadable = |error: std::io::Error| Hole::Unreadable(error.to_string());
    let opened = files::open(&file.path).map_err(unreadable)?;
    let size = opened.metadata().map_err(unreadable)?.len();
    if size > DOCUMENT_MAX {
        return Err(Hole::DocumentTooLarge { max: DOCUMENT_MAX });
    }
    let values = attributes(opened, wanted).ok_or(Hole::Malformed { what: WHAT })?;
    Ok((size, values))
}

/// Reads the preamble, the header and the data set up to the pixels.
fn attributes(file: File, wanted: &BTreeSet<Tag>) -> Option<BTreeMap<Tag, String>> {
    let mut reader = BufReader::new(file);
    let mut start = [0; 128 + 4 + 12];
    reader.read_exact(&mut start).ok()?;
    // The header's first element is its own length: (0002,0000), UL, 4 bytes.
    if start[128..140] != *b"DICM\x02\0\0\0UL\x04\0" {
        return None;
    }
    let length = u32::from_le_bytes(start[140..].try_into().ok()?);
    if length > META_MAX {
        return None;
    }
    let mut meta = vec![0; usize::try_from(length).ok()?];
    reader.read_exact(&mut meta).ok()?;
    let explicit = TransferSyntaxRegistry.get(uids::EXPLICIT_VR_LITTLE_ENDIAN)?;
    let syntax = BTreeSet::from([tags::TRANSFER_SYNTAX_UID]);
    let syntax = values(Cursor::new(meta), explicit, &syntax)?;
    let syntax = TransferSyntaxRegistry.get(syntax.get(&tags::TRANSFER_SYNTAX_UID)?)?;
    let is_deflated = syntax.uid() == uids::DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN;
    if is_deflated { None } else { values(reader, syntax, wanted) }
}

fn values<R: Read + Seek>(
    reader: R,
    syntax: &TransferSyntax,
    wanted: &BTreeSet<Tag>,
) -> Option<BTreeMap<Tag, String>> {
    let (mut found, mut depth) = (BTreeMap::new(), 0_usize);
    let mut tokens = LazyDataSetReader::new_with_ts(reader, syntax).ok()?;
    while let Some(token) = tokens.advance() {
        match token.ok()? {
            LazyDataToken::SequenceStart { .. } | LazyDataToken::PixelSequenceStart => {
                depth += 1;
                if depth > DEPTH_MAX {
                    return None;
                }
            }
            LazyDataToken::SequenceEnd => depth = depth.checked_sub(1)?,
            LazyDataToken::ElementHeader(header) if depth == 0 => {
                if header.tag() >= tags::PIXEL_DATA {
                    break;
                }
            }
            LazyDataToken::LazyValue { header, decoder } => {
                let tag = header.tag();
                let length = header.len.get()?;
                let is_wanted = wanted.contains(&tag) || tag == tags::SPECIFIC_CHARACTER_SET;
                let token = LazyDataToken::LazyValue { header, decoder };
                if depth > 0 || !is_wanted {
                    token.skip().ok()?;
                } else if length > VALUE_MAX {
                    return None;
                } else {
                    let value = token.into_value().ok()?;
                    let text = value.to_multi_str();
                    let parts = text.iter().map(|part| part.trim_matches(['\0', ' ']));
                    found.insert(tag, parts.collect::<Vec<_>>().join("\\"));
                }
            }
            token => token.skip().ok()?,
        }
    }
    Some(found)
}

#[cfg(test)]
mod tests;
