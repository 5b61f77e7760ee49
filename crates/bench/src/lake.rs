//! One lake alone: ingest, look-up, and the way from a receipt to a sealed part; `PostgreSQL` beside it.
//!
//! Sources come from [`source`], the same for the same numbers. Every ingest is a process of its own,
//! so that its peak of memory is its own, too. Look-ups of lakes of different sizes take turns, so that
//! what else the machine does slows each as much.

mod postgres;
mod source;

use crate::{percentile, process};
use aegle_lake::sealed::OpeningKey;
use aegle_lake::{Kek, Lake};
use aegle_ledger::{Permit, fixture};
use aegle_model::{Name, PatientId, RequestId};
use anyhow::{Context, Result, ensure};
use clap::Parser;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

/// The size that growth is measured from.
const SMALL: u32 = 1_000;
/// A size in between, which is measured when the largest is larger.
const MIDDLE: u32 = 100_000;
/// How many patients are asked about, at most. Each is linked.
const ASKED_MAX: u32 = 2_000;
/// How many rows the part of a long history has.
const LONG_ROWS: u32 = 50;
/// How large each document of `--objects` is.
const OBJECT_BYTES: usize = 4 << 20;

#[derive(Parser)]
pub(crate) struct Args {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// How many patients the largest lake has; each has ten rows, one in a thousand fifty
    #[arg(long, default_value_t = MIDDLE, value_parser = clap::value_parser!(u32).range(1_000..))]
    patients: u32,
    /// How often a record is looked up in each lake
    #[arg(long, default_value_t = 20_000)]
    look_ups: u32,
    /// How many parts are made of records of fifty rows
    #[arg(long, default_value_t = 1_000)]
    parts: u32,
    /// How many FHIR resources are ingested
    #[arg(long, default_value_t = 100_000)]
    resources: u32,
    /// How many documents of 4 MiB are ingested
    #[arg(long, default_value_t = 128)]
    objects: u32,
    /// Where sources, lakes and the other database lie for a while; a temporary folder if not given
    #[arg(long, value_name = "FOLDER")]
    folder: Option<PathBuf>,
}

#[derive(Parser)]
pub(crate) struct IngestArgs {
    source: PathBuf,
    lake: PathBuf,
}

/// What was measured; none where it was not, with the reason in `not_measured`.
#[derive(Debug, Default, Serialize)]
struct Figures {
    patients: u32,
    rows: u64,
    csv_mb: f64,
    lookup_rows: f64,
    lookup_p50_us: f64,
    lookup_p99_us: f64,
    lookup_growth: Option<f64>,
    lookup_p50_us_by_patients: BTreeMap<u32, f64>,
    part_rows: u32,
    receipt_to_part_p50_ms: f64,
    receipt_to_part_p99_ms: f64,
    ingest_rows_per_s: f64,
    ingest_rss_mb: f64,
    disk_ratio: f64,
    fhir_resources_per_s: Option<f64>,
    raw_mb_per_s: Option<f64>,
    postgres_rows_per_s: Option<f64>,
    postgres_lookup_p50_us: Option<f64>,
    postgres_lookup_p99_us: Option<f64>,
    postgres_ingest_ratio: Option<f64>,
    postgres_lookup_ratio: Option<f64>,
    not_measured: BTreeMap<&'static str, String>,
}

impl Figures {
    /// Says why something was not measured.
    fn without(&mut self, what: &'static str, why: &str) {
        self.not_measured.insert(what, why.to_owned());
    }
}

/// What the process of an ingest tells.
#[derive(Debug, Serialize, Deserialize)]
struct Ingested {
    rows: u64,
    seconds: f64,
    peak_mib: f64,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    crate::print(args.json, &measure(args)?)
}

/// The process of one ingest.
pub(crate) fn run_ingest(args: &IngestArgs) -> Result<()> {
    let lake = Lake::open(&args.lake, &kek())?;
    let started = Instant::now();
    let rows = lake.ingest(&args.source)?.rows;
    let seconds = started.elapsed().as_secs_f64();
    let peak_mib = process::peak_mib(std::process::id())?;
    crate::print(true, &Ingested { rows, seconds, peak_mib })
}

fn measure(args: &Args) -> Result<Figures> {
    let place = args.folder.clone().unwrap_or_else(std::env::temp_dir);
    let folder = tempfile::tempdir_in(&place)?;
    let mut figures = Figures { patients: args.patients, ..Figures::default() };
    let mut sizes = vec![SMALL, MIDDLE, args.patients];
    sizes.retain(|size| *size <= args.patients);
    sizes.dedup();
    let mut lakes = Vec::new();
    for size in sizes {
        lakes.push(Filled::new(folder.path(), size, &mut figures)?);
    }
    look_ups(args, &lakes, &mut figures)?;
    parts(args, lakes.last().context("no lake")?, &mut figures)?;
    drop(lakes);
    beside_postgres(args, (&place, folder.path()), &mut figures)?;
    resources(args, folder.path(), &mut figures)?;
    objects(args, folder.path(), &mut figures)?;
    Ok(figures)
}

/// A lake that was filled, with links to those who are asked about.
struct Filled {
    patients: u32,
    lake: Lake,
    /// A permit for each who is asked about, and how many rows it opens.
    permits: Vec<(Permit, u32)>,
}

impl Filled {
    /// Makes the source of so many patients, which stays if they are the most, and ingests it.
    fn new(folder: &Path, patients: u32, figures: &mut Figures) -> Result<Self> {
        let (source, place) = (folder.join("csv"), folder.join(format!("lake-{patients}")));
        let made = source::csv(&source, patients)?;
        let ingested = ingest(&source, &place)?;
        ensure!(ingested.rows == made.rows, "{} of {} rows came in", ingested.rows, made.rows);
        let seconds = ingested.seconds;
        figures.rows = made.rows;
        figures.csv_mb = count(made.bytes) / 1e6;
        figures.ingest_rows_per_s = count(made.rows) / seconds;
        figures.ingest_rss_mb = ingested.peak_mib;
        figures.disk_ratio = process::disk_bytes(&place)? / count(made.bytes);
        let lake = Lake::open(&place, &kek())?;
        let asked = patients.min(ASKED_MAX);
        let step = patients / asked;
        let ask = |number: u32| {
            // Nobody with a long history.
            let patient = number * step + u32::from(source::is_long(number * step));
            permit(&lake, patient, &["medication", "diagnosis"]).map(|permit| (permit, 0))
        };
        let mut permits = (0..asked).map(ask).collect::<Result<Vec<_>>>()?;
        for (permit, rows) in &mut permits {
            *rows = lake.rehearse(permit)?.rows;
        }
        Ok(Self { patients, lake, permits })
    }
}

/// A permit of a patient for the cells with one of these tags; the patient is linked for it.
fn permit(lake: &Lake, number: u32, tags: &[&str]) -> Result<Permit> {
    let bytes = [number.to_be_bytes(); 4].concat();
    let patient = PatientId::from_array(bytes.try_into().expect("four times four bytes"));
    lake.link(patient, &source::patient(number))?;
    let catalogue = lake.catalogue()?.context("the lake is empty")?;
    let tags: Vec<_> = tags.iter().map(|tag| Name::new(*tag)).collect::<Result<_, _>>()?;
    let cells = catalogue.vocabulary().cells_of(&tags)?.into_iter().collect();
    let recipient = *OpeningKey::generate().recipient();
    Ok(fixture::permit(request(0), patient, cells, recipient, catalogue.version()))
}

fn request(number: u32) -> RequestId {
    RequestId::from_array(u128::from(number).to_be_bytes())
}

/// Looks up, decrypts and projects, in one lake after the other.
fn look_ups(args: &Args, lakes: &[Filled], figures: &mut Figures) -> Result<()> {
    let mut times = vec![Vec::new(); lakes.len()];
    let mut step = 0;
    while times[0].len() < usize::try_from(args.look_ups)? {
        for (filled, times) in lakes.iter().zip(&mut times) {
            // A thousand in a row, each time others.
            for _ in 0..1_000 {
                // 1,619 has no factor in common with any number of permits.
                step = (step + 1_619) % filled.permits.len();
                let (permit, rows) = &filled.permits[step];
                let started = Instant::now();
                let found = filled.lake.rehearse(permit)?;
                times.push(started.elapsed().as_secs_f64() * 1e6);
                ensure!(found.rows == *rows, "a look-up found other rows than before");
            }
        }
    }
    for (filled, times) in lakes.iter().zip(&mut times) {
        let rows: u32 = filled.permits.iter().map(|(_, rows)| rows).sum();
        figures.lookup_rows = f64::from(rows) / count(filled.permits.len() as u64);
        figures.lookup_p50_us = percentile(times, 50);
        figures.lookup_p99_us = percentile(times, 99);
        figures.lookup_p50_us_by_patients.insert(filled.patients, figures.lookup_p50_us);
    }
    let small = figures.lookup_p50_us_by_patients.get(&SMALL).copied();
    figures.lookup_growth = small.map(|small| figures.lookup_p50_us / small);
    if lakes.len() < 2 {
        figures.lookup_growth = None;
        figures.without("lookup_growth", "there is one size only; raise --patients");
    }
    Ok(())
}

/// From receipts to sealed parts of long histories, one at a time, through all stages.
fn parts(args: &Args, filled: &Filled, figures: &mut Figures) -> Result<()> {
    let lake = &filled.lake;
    let long = (0..filled.patients).filter(|patient| source::is_long(*patient)).take(100);
    let permits: Vec<_> =
        long.map(|patient| permit(lake, patient, &["all"])).collect::<Result<_>>()?;
    let mut times = Vec::new();
    for number in 1..=args.parts {
        let old = &permits[usize::try_from(number)? % permits.len()];
        let (cells, version) = (old.cells().clone(), old.catalogue());
        let permit =
            fixture::permit(request(number), old.patient(), cells, *old.recipient(), version);
        let started = Instant::now();
        let delivery = lake.read(&permit)?;
        times.push(started.elapsed().as_secs_f64() * 1e3);
        ensure!(delivery.rows == LONG_ROWS, "a part has {} rows", delivery.rows);
    }
    figures.part_rows = LONG_ROWS;
    figures.receipt_to_part_p50_ms = percentile(&mut times, 50);
    figures.receipt_to_part_p99_ms = percentile(&mut times, 99);
    Ok(())
}

/// The rows of the largest lake in `PostgreSQL`, and the same look-up there.
fn beside_postgres(
    args: &Args,
    (place, folder): (&Path, &Path),
    figures: &mut Figures,
) -> Result<()> {
    let Some(server) = postgres::Server::start(place)? else {
        for what in ["postgres_ingest_ratio", "postgres_lookup_ratio"] {
            figures.without(what, "PostgreSQL is not installed (Debian: postgresql)");
        }
        return Ok(());
    };
    let per_s = count(figures.rows) / server.load(&folder.join("csv"))?;
    figures.postgres_rows_per_s = Some(per_s);
    figures.postgres_ingest_ratio = Some(figures.ingest_rows_per_s / per_s);
    let step = args.patients / args.patients.min(ASKED_MAX);
    let Some(mut times) = server.look_ups(args.look_ups, args.patients.min(ASKED_MAX), step)?
    else {
        figures.without("postgres_lookup_ratio", "`pgbench` is not beside `postgres`");
        return Ok(());
    };
    let p50 = percentile(&mut times, 50);
    figures.postgres_lookup_p50_us = Some(p50);
    figures.postgres_lookup_p99_us = Some(percentile(&mut times, 99));
    figures.postgres_lookup_ratio = Some(p50 / figures.lookup_p50_us);
    Ok(())
}

fn resources(args: &Args, folder: &Path, figures: &mut Figures) -> Result<()> {
    if args.resources == 0 {
        figures.without("fhir_resources_per_s", "left out by --resources 0");
        return Ok(());
    }
    let source = folder.join("fhir");
    source::fhir(&source, args.resources)?;
    let ingested = ingest(&source, &folder.join("lake-fhir"))?;
    ensure!(ingested.rows == u64::from(args.resources), "{} resources came in", ingested.rows);
    figures.fhir_resources_per_s = Some(count(ingested.rows) / ingested.seconds);
    Ok(())
}

fn objects(args: &Args, folder: &Path, figures: &mut Figures) -> Result<()> {
    if args.objects == 0 {
        figures.without("raw_mb_per_s", "left out by --objects 0");
        return Ok(());
    }
    let source = folder.join("documents");
    let bytes = source::documents(&source, args.objects, OBJECT_BYTES)?;
    let ingested = ingest(&source, &folder.join("lake-documents"))?;
    ensure!(ingested.rows == u64::from(args.objects), "{} documents came in", ingested.rows);
    figures.raw_mb_per_s = Some(count(bytes) / 1e6 / ingested.seconds);
    Ok(())
}

/// Ingests in a process of its own.
fn ingest(source: &Path, lake: &Path) -> Result<Ingested> {
    let mut command = Command::new(std::env::current_exe()?);
    let output = command.arg("lake-ingest").arg(source).arg(lake).output()?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "could not ingest `{}`: {errors}", source.display());
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// The same in both processes.
fn kek() -> Kek {
    Kek::from_array([7; 32])
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
fn count(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    #[test]
    fn the_figures_have_every_name_and_say_what_was_not_measured() {
        let mut figures = Figures::default();
        figures.without("raw_mb_per_s", "left out");
        let json = serde_json::to_value(&figures).unwrap();
        for name in [
            "lookup_p50_us",
            "lookup_p99_us",
            "lookup_growth",
            "receipt_to_part_p50_ms",
            "receipt_to_part_p99_ms",
            "ingest_rows_per_s",
            "fhir_resources_per_s",
            "raw_mb_per_s",
            "disk_ratio",
            "ingest_rss_mb",
            "postgres_ingest_ratio",
            "postgres_lookup_ratio",
        ] {
            assert!(json.get(name).is_some(), "{name}");
        }
        assert_eq!(json["raw_mb_per_s"], Value::Null);
        assert_eq!(json["not_measured"]["raw_mb_per_s"], "left out");
    }

    #[test]
    fn every_source_comes_in_whole_and_opens_as_permitted() {
        let folder = tempfile::tempdir().unwrap();
        let lake = |name: &str| {
            let lake = Lake::open(&folder.path().join(format!("lake-{name}")), &kek()).unwrap();
            let rows = lake.ingest(&folder.path().join(name)).unwrap().rows;
            (lake, rows)
        };
        let path = |name: &str| folder.path().join(name);
        let made = source::csv(&path("csv"), 30).unwrap();
        let (csv, rows) = lake("csv");
        assert_eq!((rows, made.rows), (29 * 10 + 50, 340));
        let seen = |patient, tags: &[&str]| {
            csv.rehearse(&permit(&csv, patient, tags).unwrap()).unwrap().rows
        };
        assert_eq!(seen(7, &["medication", "diagnosis"]), 9);
        assert_eq!(seen(7, &["identity"]), 1);
        assert_eq!(seen(0, &["all"]), LONG_ROWS);
        source::fhir(&path("fhir"), 100).unwrap();
        assert_eq!(lake("fhir").1, 100);
        assert_eq!(source::documents(&path("documents"), 3, 100_000).unwrap(), 300_000);
        assert_eq!(lake("documents").1, 3);
    }
}
