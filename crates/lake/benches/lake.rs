//! What a read and an ingest cost: wall time, with encryption and durability on.

use aegle_lake::sealed::OpeningKey;
use aegle_lake::{Kek, Lake, Shape};
use aegle_ledger::fixture;
use aegle_model::{CellId, PatientId, RequestId};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::path::Path;

const TABLES: u32 = 10;
const TAGS: u32 = 6;

/// Ten tables of six columns and a key, each patient with five rows in every table.
fn source(folder: &Path, patients: u32) {
    fs::create_dir_all(folder).expect("a temporary folder can be written");
    let mut catalogue = "centre = \"ZMC\"\nversion = 1\nlanguage = \"en\"\n[tags]\n".to_owned();
    for tag in 0..TAGS {
        writeln!(catalogue, "tag{tag} = {{ en = \"Tag {tag}\", nl = \"Label {tag}\" }}")
            .expect("to memory");
    }
    for table in 0..TABLES {
        writeln!(catalogue, "[tables.t{table}]\npatient = \"patnr\"\n[tables.t{table}.columns]")
            .expect("to memory");
        writeln!(catalogue, "patnr = {{ type = \"text\", key = true }}").expect("to memory");
        for (column, kind) in (0..).zip(["text", "date", "decimal", "integer", "text", "boolean"]) {
            let (tag, labels) = ((table + column / 2) % TAGS, "{ en = \"Label\", nl = \"Naam\" }");
            writeln!(
                catalogue,
                "c{column} = {{ type = \"{kind}\", tags = [\"tag{tag}\"], labels = {labels} }}"
            )
            .expect("to memory");
        }
        let mut csv = "patnr,c0,c1,c2,c3,c4,c5\n".to_owned();
        for row in 0..patients * 5 {
            writeln!(
                csv,
                "P{},a plausible text,2024-01-01,12.50,{row},another text,true",
                row % patients
            )
            .expect("to memory");
        }
        fs::write(folder.join(format!("t{table}.csv")), csv)
            .expect("a temporary folder can be written");
    }
    fs::write(folder.join("catalogue.toml"), catalogue).expect("a temporary folder can be written");
}

fn read(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    source(&folder.path().join("source"), 200);
    let lake = Lake::open(&folder.path().join("lake"), &Kek::generate()).expect("a new lake opens");
    lake.ingest(&folder.path().join("source")).expect("the source is sound");
    let patient = PatientId::from_array([1; 16]);
    lake.link(patient, "P7").expect("the patient is there");
    let cells = lake.catalogue().expect("ingested").expect("ingested").vocabulary().cells.len();
    let cells: BTreeSet<_> = (0..u16::try_from(cells).expect("few")).map(CellId).collect();
    let key = OpeningKey::generate();
    let permit = |request| fixture::permit(request, patient, cells.clone(), *key.recipient(), 1);
    // A request is answered once.
    let mut count = 0_u128;
    let mut request = move || {
        count += 1;
        RequestId::from_array(count.to_be_bytes())
    };
    let receipt = permit(request()).receipt();
    criterion.bench_function("lake::read/rows=50", |bencher| {
        bencher.iter_batched(
            || permit(request()),
            |permit| lake.read(&permit).expect("the permit is good").rows,
            BatchSize::SmallInput,
        );
    });
    criterion.bench_function("lake::empty_part", |bencher| {
        bencher.iter(|| lake.empty_part(key.recipient(), (request(), receipt), Shape::Tables));
    });
    criterion.bench_function("lake::seal/bytes=12288", |bencher| {
        let answer = aegle_lake::sealed::Answer { request: request(), receipt };
        bencher.iter(|| aegle_lake::sealed::seal(key.recipient(), &answer, &[b' '; 12288]));
    });
}

fn ingest(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let files = folder.path().join("source");
    source(&files, 2000);
    let mut group = criterion.benchmark_group("lake::ingest");
    group.sample_size(10).throughput(Throughput::Elements(u64::from(TABLES) * 2000 * 5));
    group.bench_function("rows=100000", |bencher| {
        let lake = || {
            let folder = tempfile::tempdir().expect("a temporary folder");
            let lake = Lake::open(&folder.path().join("lake"), &Kek::generate())
                .expect("a new lake opens");
            (folder, lake)
        };
        bencher.iter_batched_ref(
            lake,
            |(_, lake)| lake.ingest(&files).expect("the source is sound"),
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

criterion_group!(benches, read, ingest);
criterion_main!(benches);
