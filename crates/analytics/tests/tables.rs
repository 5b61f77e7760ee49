//! From a lake to tables, from tables to answers, and what an erasure leaves.

#![expect(clippy::unwrap_used, reason = "a test may stop where it stands")]

mod common;

use aegle_analytics::journal::{self, Outcome};
use aegle_analytics::project::Project;
use aegle_analytics::query::{Answered, query, schema};
use aegle_analytics::refresh::refresh;
use common::{PATIENTS, World, files};
use datafusion::arrow::csv::WriterBuilder;
use std::collections::BTreeMap;
use std::path::Path;

/// An answer as CSV without its header, sorted.
fn lines(answered: &Answered) -> Vec<String> {
    let mut bytes = Vec::new();
    let mut writer = WriterBuilder::new().with_header(false).build(&mut bytes);
    answered.batches.iter().for_each(|batch| writer.write(batch).unwrap());
    drop(writer);
    let mut lines: Vec<_> = String::from_utf8(bytes).unwrap().lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

async fn ask(project: &Project, sql: &str) -> (Vec<String>, u64) {
    let answered = query(project, sql).await.unwrap_or_else(|error| panic!("{sql}: {error:#}"));
    (lines(&answered), answered.suppressed)
}

const PRODUCTS: &str = "SELECT product, count(*) FROM medication GROUP BY product";

#[tokio::test(flavor = "multi_thread")]
async fn small_groups_are_not_in_an_answer() {
    let world = World::new();
    let report = refresh(&world.filled(), &world.project, None).await.unwrap();
    assert_eq!(report.tables, [("person".into(), 40), ("medication".into(), 102)]);
    assert_eq!((report.patients, report.k), (40, 10));
    let project = &world.project;
    assert_eq!(ask(project, PRODUCTS).await, (vec!["aspirin,80".into(), "metformin,12".into()], 2));
    for (sql, expected, suppressed) in [
        ("SELECT count(*) FROM person", vec!["40"], 0),
        ("SELECT count(DISTINCT patient) AS n FROM medication", vec!["40"], 0),
        ("SELECT sex, count(*) FROM person GROUP BY sex", vec!["F,20", "M,20"], 0),
        ("SELECT count(*) FROM medication WHERE product = 'rare'", vec![], 1),
        ("SELECT count(*) FROM medication WHERE product = 'nothing'", vec![], 1),
        ("SELECT avg(dose) FROM medication WHERE product = 'aspirin'", vec!["90.25"], 0),
        // The group is large, but few have a dose of 7.
        ("SELECT count(*), sum(dose) FROM medication WHERE dose IS NULL OR dose = 7", vec![], 1),
        (
            "SELECT product, avg(stop - start) FROM medication GROUP BY product
             HAVING count(*) > 20 ORDER BY product LIMIT 5",
            vec!["aspirin,30.0"],
            2,
        ),
        (
            "SELECT p.sex, m.product, count(*) FROM person p
             JOIN medication m ON p.patient = m.patient GROUP BY p.sex, m.product",
            vec!["F,aspirin,40", "M,aspirin,40"],
            5,
        ),
        (
            "SELECT p.sex, count(DISTINCT m.patient) FROM person p LEFT JOIN medication m
             ON p.patient = m.patient GROUP BY p.sex",
            vec!["F,20", "M,20"],
            0,
        ),
        (
            "SELECT sum(days - dose) / count(dose) > 0 FROM medication WHERE dose > 89",
            vec!["false"],
            0,
        ),
        (
            "WITH g AS (SELECT product, count(*) AS n FROM medication GROUP BY product)
             SELECT product, n * 2 AS twice FROM g WHERE n < 13",
            vec!["metformin,24"],
            2,
        ),
        (
            "SELECT birth / 10 AS decade, count(*) FROM person GROUP BY birth / 10",
            vec!["195,10", "196,10", "197,10"],
            2,
        ),
        ("SELECT count(*) FROM medication WHERE repeat", vec!["102"], 0),
    ] {
        let expected = expected.into_iter().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(ask(project, sql).await, (expected, suppressed), "{sql}");
    }
}

/// What may not be asked.
const REFUSED: &[&str] = &[
    "SELECT * FROM medication",
    "SELECT product FROM medication",
    "SELECT DISTINCT product FROM medication",
    "SELECT patient, count(*) FROM medication GROUP BY patient",
    "SELECT count(*) FROM medication WHERE patient = 'a'",
    "SELECT max(patient) FROM medication",
    "SELECT min(start) FROM medication",
    "SELECT max(dose) FROM medication",
    "SELECT array_agg(dose) FROM medication",
    "SELECT string_agg(product, ',') FROM medication",
    "SELECT first_value(dose) FROM medication",
    "SELECT approx_percentile_cont(dose, 1.0) FROM medication",
    "SELECT sum(CASE WHEN product = 'unique' THEN dose ELSE 0 END) FROM medication",
    "SELECT sum(dose) FILTER (WHERE product = 'unique') FROM medication",
    "SELECT count(*) FILTER (WHERE product = 'unique') FROM medication",
    "SELECT sum(dose * days) FROM medication",
    "SELECT sum(dose / 7) FROM medication",
    "SELECT sum(floor(dose)) FROM medication",
    "SELECT sum(DISTINCT dose) FROM medication",
    "SELECT count(DISTINCT nullif(product, 'unique')) FROM medication",
    "SELECT count(*) FROM medication WHERE 1 / (dose - 7) > 0",
    "SELECT count(*) FROM medication WHERE CAST(product AS INT) > 0",
    "SELECT count(*) FROM medication WHERE random() < 0.5",
    // What is rounded off is a condition, and so is what is joined or not.
    "SELECT sum(birth + 576460752303423488.0 - 576460752303423488.0) FROM person",
    "SELECT sum(days * 2) FROM medication",
    "SELECT median(birth) FROM person",
    "SELECT p.sex, count(*) FROM person p LEFT JOIN medication m ON p.patient = m.patient AND m.product = 'rare' GROUP BY p.sex",
    "SELECT count(*) FROM person p LEFT JOIN medication m ON p.patient = m.patient AND p.birth = 1941",
    "SELECT count(*) FROM medication WHERE start > CASE WHEN product = 'unique' THEN 'x' ELSE '2000-01-01' END",
    "SELECT count(*) FROM medication WHERE CASE WHEN product = 'unique' THEN 'x' ELSE '1' END = days",
    "SELECT date_part(product, start), count(*) FROM medication GROUP BY date_part(product, start)",
    // What fails for one row's sake tells that there is such a row.
    "SELECT count(*) FROM medication WHERE substr('a', 1, CASE WHEN product = 'unique' THEN -1 ELSE 1 END) = 'a'",
    "SELECT count(*) FROM medication WHERE abs(days) > 1",
    "SELECT count(*) FROM medication WHERE round(days, -20) > 1",
    "SELECT count(*) FROM medication WHERE days / -1 > 0",
    "SELECT count(*) FROM medication WHERE days % -1 = 0",
    "SELECT count(*) FROM medication WHERE days * CAST('1' AS DECIMAL(38, 0)) > 0",
    "SELECT count(*) FROM medication WHERE start + INTERVAL '1 day' > DATE '2024-01-01'",
    "SELECT count(*) FROM medication WHERE at + INTERVAL '1 day' > TIMESTAMP '2024-01-01T00:00:00Z'",
    "SELECT count(*) FROM medication WHERE start + days > DATE '2024-01-01'",
    "SELECT count(*) FROM medication WHERE date_trunc(CASE WHEN repeat THEN 'x' ELSE 'day' END, at) IS NOT NULL",
    "SELECT count(*) FROM medication WHERE product IN (SELECT product FROM medication)",
    "SELECT count(*) FROM medication WHERE EXISTS (SELECT 1 FROM person)",
    "SELECT count(*), (SELECT count(*) FROM person WHERE birth = 1941) FROM medication",
    "SELECT avg(n) FROM (SELECT product, count(*) AS n FROM medication GROUP BY product)",
    "SELECT count(*) FROM (SELECT product AS patient FROM medication)",
    "SELECT count(*) FROM (SELECT * FROM medication LIMIT 1)",
    "SELECT b.dose, count(*) FROM medication a CROSS JOIN medication b GROUP BY b.dose",
    "SELECT b.dose, count(*) FROM medication a JOIN medication b ON a.days = b.days GROUP BY b.dose",
    "SELECT b.dose, count(*) FROM medication a, medication b WHERE a.patient = b.patient GROUP BY b.dose",
    "SELECT b.dose, count(*) FROM medication a JOIN medication b ON a.patient <> b.patient GROUP BY b.dose",
    "SELECT b.dose, count(*) FROM medication a JOIN medication b ON a.patient = b.patient OR a.days = b.days GROUP BY b.dose",
    "SELECT b.dose, count(*) FROM medication a JOIN medication b ON a.patient = a.patient GROUP BY b.dose",
    "SELECT count(*) FROM person p WHERE p.patient IN (SELECT patient FROM medication)",
    "SELECT product, count(*) OVER () FROM medication",
    "SELECT product, count(*) FROM medication GROUP BY ROLLUP (product)",
    "SELECT count(*) FROM person UNION ALL SELECT count(*) FROM medication",
    "SELECT 1",
    "SELECT count(*)",
    "SELECT count(*) FROM (VALUES (1))",
    "EXPLAIN ANALYZE SELECT count(*) FROM person",
    "SHOW TABLES",
    "SET datafusion.execution.batch_size = 1",
    "DESCRIBE person",
    "SELECT count(*) FROM information_schema.tables",
    "SELECT count(*) FROM generate_series(1, 10)",
    "DROP TABLE person",
    "DELETE FROM person",
    "INSERT INTO person SELECT * FROM person",
    "CREATE TABLE t AS SELECT count(*) FROM person",
    "SELECT count(*) FROM person; SELECT count(*) FROM person",
    "",
    "not SQL",
];

#[tokio::test(flavor = "multi_thread")]
async fn what_may_not_be_asked_is_refused() {
    let world = World::new();
    refresh(&world.filled(), &world.project, None).await.unwrap();
    let file = world.folder.path().join("made.csv");
    let copy = format!("COPY (SELECT count(*) FROM person) TO '{}'", file.display());
    let external = "CREATE EXTERNAL TABLE p STORED AS CSV LOCATION '/etc/passwd'";
    let read = format!("SELECT count(*) FROM '{}'", world.source().join("person.csv").display());
    let files = [copy.as_str(), external, &read];
    for sql in REFUSED.iter().chain(&files) {
        let refused = query(&world.project, sql).await;
        assert!(refused.is_err(), "{sql}: {:?}", refused.map(|answered| lines(&answered)));
    }
    assert!(!file.exists());
    let entries = journal::read(&world.project.journal()).unwrap();
    let refused = |entry: &&journal::Entry| matches!(entry.outcome, Outcome::Refused(_));
    // Each question has two lines, a refresh one.
    assert_eq!(entries.iter().filter(refused).count(), (entries.len() - 1) / 2);
    assert_eq!(ask(&world.project, "SELECT count(*) FROM person").await.0, ["40"]);
}

/// Each would fail because of a group that is held back, if it were asked of that.
const OF_SHOWN_GROUPS: &[(&str, &[&str])] = &[
    (
        "SELECT product, count(*) FROM medication GROUP BY product
         HAVING 1 / (character_length(product) - 6) < 5",
        &["aspirin,80", "metformin,12"],
    ),
    (
        "SELECT product, n FROM (SELECT product, count(*) AS n,
         1 / (character_length(product) - 6) AS q FROM medication GROUP BY product) WHERE q < 5",
        &["aspirin,80", "metformin,12"],
    ),
    (
        "SELECT product, count(*) FROM medication GROUP BY product
         HAVING 1 / CAST(count(*) - 1 AS BIGINT) < 5",
        &["aspirin,80", "metformin,12"],
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn what_is_held_back_makes_nothing_fail() {
    let world = World::new();
    refresh(&world.filled(), &world.project, None).await.unwrap();
    let failing = "SELECT product, 1 / (count(*) - 80) FROM medication GROUP BY product";
    assert!(query(&world.project, failing).await.is_err(), "a division by zero is possible");
    for (sql, expected) in OF_SHOWN_GROUPS {
        assert_eq!(ask(&world.project, sql).await.0, *expected, "{sql}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_that_is_too_long_is_in_the_journal() {
    let world = World::new();
    refresh(&world.filled(), &world.project, None).await.unwrap();
    let sql = format!("SELECT count(*) FROM person WHERE sex = '{}'", "é".repeat(20_000));
    assert!(query(&world.project, &sql).await.is_err());
    let entries = journal::read(&world.project.journal()).unwrap();
    let [.., asked, told] = entries.as_slice() else { panic!("{entries:?}") };
    assert!(
        asked.sql.starts_with("SELECT count(*)")
            && asked.sql.contains(&format!("{} bytes", sql.len()))
    );
    assert_eq!((asked.outcome.clone(), told.of), (Outcome::Asked, Some(asked.number)));
    assert!(matches!(&told.outcome, Outcome::Refused(words) if words.contains("longer")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_tells_no_value() {
    let world = World::new();
    refresh(&world.filled(), &world.project, None).await.unwrap();
    let sql = "SELECT days, count(*) FROM medication WHERE
               days * 9223372036854775807 * 9223372036854775807 > 0 GROUP BY days";
    if let Err(error) = query(&world.project, sql).await {
        assert!(!format!("{error:#}").contains("30"), "{error:#}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_identifies_is_in_a_table() {
    let world = World::new();
    refresh(&world.filled(), &world.project, None).await.unwrap();
    let columns = schema(&world.project).await.unwrap();
    let expected = "medication.patient medication.product medication.dose medication.days \
                    medication.start medication.stop medication.at medication.repeat \
                    person.patient person.sex person.birth";
    let names: Vec<_> = columns.lines().map(|line| line.split(':').next().unwrap()).collect();
    assert_eq!(names.join(" "), expected);
    let tables = files(world.project.tables());
    assert!(tables.keys().any(|path| path.extension().is_some_and(|it| it == "parquet")));
    for (path, bytes) in tables {
        for secret in ["PAT-", "Name-", "Jansen", "phone", "1941-05-17"] {
            let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!found, "{secret} in {}", path.display());
        }
        // The log of a table says nothing of the values in its files.
        let text = String::from_utf8_lossy(&bytes).replace('\\', "");
        for bound in ["minValues", "maxValues"] {
            let nothing = format!("\"{bound}\":{{}}");
            assert_eq!(text.matches(bound).count(), text.matches(&nothing).count(), "{text}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_question_is_in_the_journal_or_has_no_answer() {
    let world = World::new();
    refresh(&world.filled(), &world.project, Some(12)).await.unwrap();
    ask(&world.project, PRODUCTS).await;
    query(&world.project, "SELECT * FROM person").await.unwrap_err();
    let path = world.project.journal();
    let entries = journal::read(&path).unwrap();
    let told: Vec<_> =
        entries.iter().map(|entry| (&*entry.sql, entry.of, &entry.outcome)).collect();
    assert_eq!(
        told[..4],
        [
            ("", None, &Outcome::Refreshed { rows: 142 }),
            (PRODUCTS, None, &Outcome::Asked),
            ("", Some(2), &Outcome::Answered { rows: 2, suppressed: 2 }),
            ("SELECT * FROM person", None, &Outcome::Asked),
        ]
    );
    assert!(matches!(told[4], ("", Some(4), Outcome::Refused(_))));
    assert!(entries.iter().all(|entry| entry.k == 12 && entry.project == "study"));
    // A journal that does not hold together, or cannot be written, holds every answer back.
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("\"rows\":142", "\"rows\":141")).unwrap();
    let error = query(&world.project, PRODUCTS).await.unwrap_err();
    assert!(format!("{error:#}").contains("could not keep in the journal"), "{error:#}");
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    assert!(query(&world.project, PRODUCTS).await.is_err());
}

/// The files of parquet in each table of a project.
fn data_files(project: &Project) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for path in files(project.tables()).into_keys() {
        let is_data = path.extension().is_some_and(|it| it == "parquet")
            && !path.components().any(|part| part.as_os_str() == "_delta_log");
        if is_data {
            let table = path.iter().next().unwrap().to_str().unwrap().to_owned();
            *counts.entry(table).or_default() += 1;
        }
    }
    counts
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_replaces_what_was_there_and_leaves_no_old_file() {
    let world = World::new();
    let lake = world.filled();
    refresh(&lake, &world.project, None).await.unwrap();
    let one = BTreeMap::from([("medication".to_owned(), 1), ("person".to_owned(), 1)]);
    assert_eq!(data_files(&world.project), one);
    // What a killed refresh left goes, too.
    std::fs::write(world.project.tables().join("person/part-left.parquet"), b"rows").unwrap();
    std::fs::create_dir(world.project.tables().join("of_before")).unwrap();
    world.write(1..=30);
    lake.ingest(&world.source()).unwrap();
    refresh(&lake, &world.project, None).await.unwrap();
    assert_eq!(data_files(&world.project), one);
    assert!(!world.project.tables().join("of_before").exists());
    assert_eq!(ask(&world.project, "SELECT count(*) FROM person").await.0, ["30"]);
    // Nobody is left: the tables are empty, not old.
    world.write(std::iter::empty());
    lake.ingest(&world.source()).unwrap();
    let report = refresh(&lake, &world.project, None).await.unwrap();
    assert_eq!(report.rows(), 0);
    assert_eq!(data_files(&world.project), BTreeMap::new());
    assert_eq!(ask(&world.project, "SELECT count(*) FROM person").await, (vec![], 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erasure_reaches_every_table_and_a_refresh_brings_the_others_back() {
    let world = World::new();
    let lake = world.filled();
    refresh(&lake, &world.project, Some(5)).await.unwrap();
    let other = Project::new(&world.folder.path().join("lake"), "other").unwrap();
    refresh(&lake, &other, None).await.unwrap();
    let counts =
        "SELECT product, count(*), count(DISTINCT patient) FROM medication GROUP BY product";
    let before = ask(&world.project, counts).await;
    assert_eq!(before.0, ["aspirin,80,40", "metformin,12,12", "rare,9,9"]);
    let subject = lake.subject("PAT-12").unwrap();
    lake.erase(&subject, &mut |_| {}).unwrap();
    assert_eq!(files(&world.folder.path().join("lake/analytics")).len(), 0);
    for project in [&world.project, &other] {
        let error = query(project, counts).await.unwrap_err();
        let said = format!("run `aegle-analytics refresh --project {}`", project.name());
        assert!(format!("{error:#}").contains(&said), "{error:#}");
    }
    let report = refresh(&lake, &world.project, None).await.unwrap();
    assert_eq!((report.k, report.rows()), (5, 142 - 4), "k is kept; one person, three medicines");
    let after = ask(&world.project, counts).await;
    assert_eq!(after.0, ["aspirin,78,39", "metformin,11,11", "rare,9,9"]);
    let persons = ask(&world.project, "SELECT count(*) FROM person").await;
    assert_eq!(persons.0, [(PATIENTS - 1).to_string()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_project_that_was_never_made_says_so() {
    let world = World::new();
    drop(world.filled());
    let error = query(&world.project, PRODUCTS).await.unwrap_err();
    assert!(format!("{error:#}").contains("never made"), "{error:#}");
    assert!(schema(&world.project).await.is_err());
    assert!(Project::new(Path::new("lake"), "../other").is_err());
}
