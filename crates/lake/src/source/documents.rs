//! Tables as folders of documents: PDF, PNG and JPEG, each a row and each of one patient.
//!
//! ```toml
//! [sources.letters]
//! type = "documents"
//! path = "letters"                         # a folder with *.pdf, *.png, *.jpg and *.jpeg
//!
//! [tables.letter]
//! from = "letters"
//! select = "{patnr}/{written}_{title}.pdf" # where the fields stand in a path inside that folder
//! patient = "patnr"
//!
//! [tables.letter.columns]
//! patnr   = { type = "text", key = true }
//! written = { type = "date", tags = ["documents"] }
//! title   = { type = "text", tags = ["documents"] }
//! media   = { type = "text", path = "@media", tags = ["documents"] }
//! content = { type = "bytes", path = "@content", tags = ["documents"] }
//! ```
//!
//! A path is a name of the template, or `@content`, `@media` (by content, never by name), `@name`,
//! `@size`. Files that the template does not fit belong to other tables. The content is read when a
//! patient owns the row, one file at a time, and becomes a [document](crate::document).
//! Absent on purpose: looking into documents; nothing of them is decoded here.

use super::files::{self, Files, Found};
use super::template::Template;
use super::{Content, Record, Rows, Selection, Shape, Source, Type, Unreadable};
use crate::catalogue::Table;
use crate::crypt::MacKey;
use crate::document::DOCUMENT_MAX;
use crate::finding::Findings;
use crate::hole::Hole;
use std::io::{self, Read};

pub(super) static TYPE: Type = Type {
    name: "documents",
    settings: &[files::PATH],
    select: Selection {
        shape: Some(Shape {
            text: "a path with names of fields in braces, such as `{patient}/{title}.pdf`",
            fits: |text| Template::new(text).is_some(),
        }),
        needed: true,
        filter: false,
        watermark: false,
    },
    path: Some(Shape {
        text: "a name in the braces of `select`, or `@content`, `@media`, `@name` or `@size`",
        fits: |text| !text.starts_with('@') || SPECIAL.contains(&text),
    }),
    open: |folder, settings| {
        Box::new(Documents(Files::new(folder, settings, &[".pdf", ".png", ".jpg", ".jpeg"])))
    },
};

const SPECIAL: [&str; 4] = ["@content", "@media", "@name", "@size"];

struct Documents(Files);

impl Source for Documents {
    fn content(&mut self, _: &Table, naming: &MacKey) -> Result<Content, Unreadable> {
        self.0.content(naming)
    }

    fn rows<'a>(
        &'a mut self,
        table: &'a Table,
        findings: &mut Findings,
    ) -> Option<Box<dyn Rows + 'a>> {
        let files = self.0.listed(findings)?.into_iter();
        let template = Template::new(&table.origin.select).unwrap_or_default();
        Some(Box::new(Listed { table, template, files }))
    }
}

struct Listed<'a> {
    table: &'a Table,
    template: Template,
    files: std::vec::IntoIter<Found>,
}

impl Rows for Listed<'_> {
    fn next(&mut self, record: &mut Record, findings: &mut Findings) -> bool {
        for file in self.files.by_ref() {
            let Some(fields) = self.template.fields(&file.within) else { continue };
            match look(&file) {
                Err(hole) => findings.add(&file.name, None, hole),
                Ok((media, size)) => {
                    record.begin(&file.name, None);
                    for path in &self.table.origin.paths {
                        match path.as_str() {
                            "@content" => record.file(&file.path),
                            "@media" => record.text(media.as_bytes()),
                            "@name" => record.text(file.within.as_bytes()),
                            "@size" => record.text(size.to_string().as_bytes()),
                            name => {
                                let field = fields.iter().find(|(known, _)| *known == name);
                                record.text(field.map_or("", |(_, field)| field).as_bytes());
                            }
                        }
                    }
                    return true;
                }
            }
        }
        false
    }
}

/// The media type and the size of a file, without reading it.
fn look(file: &Found) -> Result<(&'static str, u64), Hole> {
    let read = || -> io::Result<_> {
        let file = files::open(&file.path)?;
        let size = file.metadata()?.len();
        let mut start = Vec::new();
        file.take(8).read_to_end(&mut start)?;
        Ok((start, size))
    };
    let (start, size) = read().map_err(|error| Hole::Unreadable(error.to_string()))?;
    if size > DOCUMENT_MAX {
        return Err(Hole::DocumentTooLarge { max: DOCUMENT_MAX });
    }
    media(&start).map(|media| (media, size)).ok_or(Hole::NotADocument)
}

fn media(start: &[u8]) -> Option<&'static str> {
    let known: [(&[u8], _); 3] = [
        (b"%PDF-", "application/pdf"),
        (b"\x89PNG\r\n\x1a\n", "image/png"),
        (b"\xff\xd8\xff", "image/jpeg"),
    ];
    known.iter().find(|(signature, _)| start.starts_with(signature)).map(|(_, media)| *media)
}

#[cfg(test)]
mod tests;
