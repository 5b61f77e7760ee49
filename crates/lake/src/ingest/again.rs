//! Brings rows again from where a manifest says, to repair what was lost of them.
//!
//! Rows are found by their keyed hashes, wherever they stand in the source by now; frames and
//! documents are made from the rows, the data key and the place alone, so they come out byte by byte
//! as they were. Nothing is taken on trust: a row that changed has another hash, a document another
//! name. No key is ever made here, so nothing comes back of a patient who was erased.

use super::IngestError;
use super::batch;
use super::documents::Keep;
use super::rows::Rows;
use crate::catalogue::Patient;
use crate::crypt::Secret;
use crate::finding::Findings;
use crate::frame::Place;
use crate::keys::PatientKey;
use crate::lake::Lake;
use crate::layout::Layout;
use crate::source::{Content, Sources};
use aegle_vault::RowId;
use std::collections::BTreeSet;
use std::path::Path;

/// Why a source cannot be read now; it may be another time.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Away(String);

/// A table by its position in a layout.
#[derive(Clone, Copy)]
pub(crate) struct Cutting<'a> {
    pub(crate) layout: &'a Layout,
    pub(crate) position: usize,
}

/// What a source holds of some patients.
pub(crate) struct Brought<'a> {
    lake: &'a Lake,
    cutting: Cutting<'a>,
    rows: Rows,
}

impl Lake {
    /// Reads the rows of these patients from the source in `folder`.
    pub(crate) fn bring<'a>(
        &'a self,
        cutting: Cutting<'a>,
        folder: &Path,
        patients: &BTreeSet<PatientKey>,
    ) -> Result<Brought<'a>, Away> {
        let away = |error: IngestError| Away(error.to_string());
        let mut sources = Sources::open(folder, &cutting.layout.catalogue);
        let before = self.contents(cutting, &mut sources)?;
        let mut findings = Findings::default();
        let (layout, chosen) =
            ((cutting.layout, cutting.position), |patient: &PatientKey| patients.contains(patient));
        let rows =
            Rows::of(&self.keys, layout, &mut sources, chosen, &mut findings).map_err(away)?;
        if let Some(found) = findings.into_sorted().iter().find(|found| found.hole.may_pass()) {
            return Err(Away(found.to_string()));
        }
        if self.contents(cutting, &mut sources)? != before {
            return Err(Away("the source was changed while it was read".to_owned()));
        }
        Ok(Brought { lake: self, cutting, rows })
    }

    /// What the table holds, and the one through which it finds its patients.
    fn contents(
        &self,
        Cutting { layout, position }: Cutting<'_>,
        sources: &mut Sources,
    ) -> Result<Vec<Content>, Away> {
        let table = &layout.catalogue.tables()[position];
        let through = match &table.patient {
            Patient::Column(_) => None,
            Patient::Through { table, .. } => layout.catalogue.table(table.as_str()),
        };
        let mut content = |table| sources.content(table, self.keys.naming());
        let contents = std::iter::once(table).chain(through).map(&mut content);
        let contents: Result<_, _> = contents.collect();
        contents.map_err(|missing| {
            Away(format!("could not read `{}` of the source: {}", missing.file, missing.source))
        })
    }
}

impl Brought<'_> {
    /// The extent of these rows as it was; none when the source does not hold all of them.
    pub(crate) fn extent(
        &self,
        place: &Place<'_>,
        ids: &[RowId],
        (key, keep): (&Secret, &mut Keep<'_>),
    ) -> Result<Option<Vec<u8>>, IngestError> {
        let Some(rows) = self.rows.patient(place.patient) else { return Ok(None) };
        let there = rows.ids();
        let found = |id: &RowId| there.iter().position(|other| other == id);
        let Some(places) = ids.iter().map(found).collect::<Option<Vec<_>>>() else {
            return Ok(None);
        };
        let (mut extent, naming) = (Vec::new(), self.lake.keys.naming());
        let cuts = &self.cutting.layout.cuts[self.cutting.position];
        batch::seal((naming, key), place, cuts, (&rows, &places), (keep, &mut extent))?;
        Ok(Some(extent))
    }

    /// Gives every document of a patient to `keep`.
    pub(crate) fn documents(
        &self,
        patient: &PatientKey,
        key: &Secret,
        keep: &mut Keep<'_>,
    ) -> Result<(), IngestError> {
        let Some(rows) = self.rows.patient(patient) else { return Ok(()) };
        let cuts = &self.cutting.layout.cuts[self.cutting.position];
        batch::documents((self.lake.keys.naming(), key), cuts, &rows, keep)
    }
}
