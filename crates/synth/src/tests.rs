//! Whole networks: same seed same bytes, catalogues without holes, values that agree.

mod source;

use source::{Source, days};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

const CODES: [&str; 4] = ["USTAN", "ZMC", "FCRB", "KHM"];
const SEED: u64 = 7;

/// A network in a folder that lasts as long as the value.
struct Made {
    folder: tempfile::TempDir,
    network: crate::Network,
}

fn made(seed: u64, patients: usize) -> Made {
    let folder = tempfile::tempdir().unwrap();
    let network = crate::generate(folder.path(), seed, patients).unwrap();
    Made { folder, network }
}

impl Made {
    fn source(&self, code: &str) -> Source {
        Source::read(&self.folder.path().join(code))
    }
}

fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let centres = CODES.iter().flat_map(|code| fs::read_dir(folder.join(code)).unwrap());
    let paths = centres.map(|entry| entry.unwrap().path());
    paths
        .map(|path| {
            (
                path.display().to_string().split_off(folder.as_os_str().len()),
                fs::read(path).unwrap(),
            )
        })
        .collect()
}

#[test]
fn the_same_seed_gives_the_same_bytes_and_another_seed_others() {
    let [one, again, other] = [SEED, SEED, SEED + 1].map(|seed| made(seed, 40));
    assert_eq!(files(one.folder.path()), files(again.folder.path()));
    assert_ne!(files(one.folder.path()), files(other.folder.path()));
}

#[test]
fn more_patients_change_nothing_about_the_first_ones() {
    let [few, many] = [10, 30].map(|patients| made(SEED, patients));
    for code in CODES {
        let [few, many] = [&few, &many].map(|made| made.source(code));
        for (table, rows) in few.tables {
            // Shared rows are written with the first patient who needs them.
            assert_eq!(rows, many.tables[&table][..rows.len()], "{code}.{table}");
        }
    }
}

#[test]
fn a_number_of_patients_out_of_range_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    for patients in [0, crate::PATIENTS_MAX + 1] {
        let error = crate::generate(folder.path(), SEED, patients).unwrap_err();
        assert!(error.to_string().contains("give 1 to 20000000"), "{error}");
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn a_folder_that_cannot_be_written_is_named() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("ZMC"), "in the way").unwrap();
    let error = crate::generate(folder.path(), SEED, 1).unwrap_err();
    assert!(error.to_string().contains("ZMC"), "{error}");
}

#[test]
fn every_column_carries_a_declared_tag_and_every_tag_a_column() {
    let made = made(SEED, 1);
    for code in CODES {
        let catalogue = made.source(code).catalogue;
        let declared: BTreeSet<&str> =
            catalogue["tags"].as_table().unwrap().keys().map(String::as_str).collect();
        let mut carried = BTreeSet::from(["all"]);
        for (table, name, column) in source::columns(&catalogue) {
            if column.get("key").is_some() {
                assert!(column.get("tags").is_none(), "{code}.{table}.{name}");
                continue;
            }
            let tags = column["tags"].as_array().unwrap();
            assert!(!tags.is_empty(), "{code}.{table}.{name}");
            carried.extend(tags.iter().map(|tag| tag.as_str().unwrap().split('@').next().unwrap()));
        }
        assert_eq!(carried, declared, "{code}");
    }
}

#[test]
fn everything_with_a_tag_has_labels_in_three_languages() {
    let made = made(SEED, 1);
    for code in CODES {
        let catalogue = made.source(code).catalogue;
        let tables = catalogue["tables"].as_table().unwrap();
        let tags = catalogue["tags"].as_table().unwrap().iter();
        let columns =
            source::columns(&catalogue).filter(|(_, _, column)| column.get("key").is_none());
        let labels = tags.map(|(name, labels)| (name.clone(), labels));
        let labels =
            labels.chain(tables.iter().map(|(name, table)| (name.clone(), &table["labels"])));
        let labels = labels.chain(
            columns.map(|(table, name, column)| (format!("{table}.{name}"), &column["labels"])),
        );
        for (name, labels) in labels {
            for language in ["en", "nl", "es"] {
                assert!(
                    !labels[language].as_str().unwrap().is_empty(),
                    "{code}: {name} in {language}"
                );
            }
        }
    }
}

#[test]
fn versions_patient_columns_and_look_ups_hold_together() {
    let made = made(SEED, 1);
    for code in CODES {
        let catalogue = made.source(code).catalogue;
        let version = catalogue["version"].as_integer().unwrap();
        for (table, name, column) in source::columns(&catalogue) {
            let since = column.get("since").map_or(1, |since| since.as_integer().unwrap());
            let tags = column.get("tags").and_then(|tags| tags.as_array()).into_iter().flatten();
            let joined = tags.filter_map(|tag| tag.as_str().unwrap().split_once('@'));
            let joined = joined.map(|(_, joined)| joined.parse().unwrap()).chain([since]);
            assert!(
                joined.into_iter().all(|joined| (since..=version).contains(&joined)),
                "{code}.{table}.{name}"
            );
        }
        for (table, definition) in catalogue["tables"].as_table().unwrap() {
            let columns = |table: &str| catalogue["tables"][table]["columns"].as_table().unwrap();
            match &definition["patient"] {
                toml::Value::String(key) => assert!(columns(table)[key]["key"].as_bool().unwrap()),
                through => {
                    let on = through["on"].as_str().unwrap();
                    assert!(columns(table).contains_key(on), "{code}.{table}");
                    assert!(columns(through["through"].as_str().unwrap()).contains_key(on));
                }
            }
        }
    }
}

#[test]
fn the_tables_of_the_original_hospitals_are_there() {
    let made = made(SEED, 1);
    let tables = |code| made.source(code).tables.into_keys().collect::<Vec<_>>().join(" ");
    assert_eq!(tables("USTAN"), "cycles general intentions patients regimes smr01 smr06");
    assert_eq!(
        tables("ZMC"),
        "address alcohol_use allergies bloodpressure complaints_and_diagnosis documents drug_use \
         functional_or_mental_state images length living_situation measurements medical_aids_and_tools \
         medication_agreements medication_use patient_details registered_events tobacco_use warning \
         wearable weight"
    );
    assert_eq!(
        tables("FCRB"),
        "diagnostic episode medical_specialty medication monitoring_params order_entry patient \
         patient_address professional vital_signs"
    );
    assert_eq!(tables("KHM"), "immunisations patient_details prescriptions visits");
}

#[test]
fn identity_is_in_one_tag_only_and_treatments_close_a_part_of_medication() {
    let made = made(SEED, 1);
    let names = [
        "name",
        "date_of_birth",
        "dob",
        "postcode",
        "nname",
        "vname",
        "gbdat",
        "family_name",
        "given_name",
    ];
    for code in ["USTAN", "ZMC", "FCRB", "KHM"] {
        for (table, name, column) in source::columns(&made.source(code).catalogue) {
            if names.contains(&name) && !["functional_or_mental_state", "address"].contains(&table)
            {
                let tag = column["tags"].as_array().unwrap()[0].as_str().unwrap();
                assert!(
                    ["patient_details", "patient_address"].contains(&tag),
                    "{code}.{table}.{name}"
                );
                assert_eq!(column["tags"].as_array().unwrap().len(), 1, "{code}.{table}.{name}");
            }
        }
    }
    let catalogue = made.source("ZMC").catalogue;
    let tags = |column: &toml::Value| column.get("tags").map_or(String::new(), ToString::to_string);
    let medication: Vec<_> = source::columns(&catalogue)
        .map(|(_, _, column)| tags(column))
        .filter(|tags| tags.contains("medication"))
        .collect();
    let closed = medication.iter().filter(|tags| tags.contains("treatments")).count();
    assert!((1..medication.len()).contains(&closed), "{closed} of {}", medication.len());
}

#[test]
fn every_field_has_the_type_that_the_catalogue_says() {
    let made = made(SEED, 200);
    for code in CODES {
        let source = made.source(code);
        let mut filled = BTreeSet::new();
        for (table, name, column) in source::columns(&source.catalogue) {
            let kind = column["type"].as_str().unwrap();
            for row in &source.tables[table] {
                let field = &row[name];
                assert!(
                    field.is_empty() || source::reads_as(kind, field),
                    "{code}.{table}.{name}: `{field}` is no {kind}"
                );
                if !field.is_empty() {
                    filled.insert((table, name));
                }
            }
        }
        assert!(
            filled
                .iter()
                .any(|(table, name)| source.tables[*table].iter().any(|row| row[*name].is_empty())),
            "{code} has no nulls"
        );
    }
}

#[test]
fn no_row_belongs_to_nobody() {
    let made = made(SEED, 100);
    for (hospital, code) in made.network.centres.iter().zip(CODES) {
        let source = made.source(code);
        let known: BTreeSet<&String> = hospital.patients.iter().collect();
        assert_eq!(known.len(), hospital.patients.len(), "{code}: a number was given twice");
        let mut rows = 0;
        for (table, definition) in source.catalogue["tables"].as_table().unwrap() {
            rows += source.tables[table].len() as u64;
            match &definition["patient"] {
                toml::Value::String(key) => assert!(
                    source.tables[table].iter().all(|row| known.contains(&row[key])),
                    "{code}.{table}"
                ),
                through => {
                    let on = through["on"].as_str().unwrap();
                    let met = source.values(through["through"].as_str().unwrap(), on);
                    assert!(source.values(table, on).is_subset(&met), "{code}.{table}");
                }
            }
        }
        assert_eq!((hospital.code.as_str(), hospital.rows), (code, rows));
    }
}

#[test]
fn the_first_shared_patient_has_rows_in_every_table_of_both_centres() {
    for seed in 0..20 {
        let made = made(seed, 1);
        let shared = &made.network.shared[0];
        let centres: Vec<&str> = shared.numbers.iter().map(|(code, _)| code.as_str()).collect();
        assert_eq!(centres, ["ZMC", "FCRB"]);
        let mut rows = 0;
        for (code, number) in &shared.numbers {
            let source = made.source(code);
            for (table, all) in &source.tables {
                assert!(!all.is_empty(), "{code}.{table} with seed {seed}");
                rows += all.len();
                assert!(
                    all.iter().all(|row| row.values().any(|field| field == number))
                        || table == "professional"
                        || table == "medical_specialty"
                );
            }
        }
        assert!((50..=200).contains(&rows), "{rows} rows with seed {seed}");
    }
}

#[test]
fn every_fifth_person_is_the_same_at_two_centres() {
    let made = made(SEED, 300);
    assert_eq!(made.network.shared.len(), 60);
    let sources: BTreeMap<&str, Source> =
        CODES.iter().map(|code| (*code, made.source(code))).collect();
    let who = |code: &str, number: &str| -> [String; 3] {
        let source = &sources[code];
        let field = |table, key, name| source.of_patient(table, key, number)[0][name].clone();
        match code {
            "USTAN" => {
                let name = field("general", "chi", "name");
                let (given, family) = name.split_once(' ').unwrap();
                [given.to_owned(), family.to_owned(), field("general", "chi", "date_of_birth")]
            }
            "ZMC" => {
                ["vname", "nname", "gbdat"].map(|name| field("patient_details", "patnr", name))
            }
            "FCRB" => ["vname", "nname", "gbdat"].map(|name| field("patient", "patnr", name)),
            _ => ["given_name", "family_name", "date_of_birth"]
                .map(|name| field("patient_details", "number", name)),
        }
    };
    let mut pairs = BTreeSet::new();
    for shared in &made.network.shared {
        let [one, two] = [0, 1].map(|place| &shared.numbers[place]);
        pairs.insert((&one.0, &two.0));
        let found = who(&one.0, &one.1);
        assert_eq!(found, who(&two.0, &two.1));
        assert_eq!(shared.person, format!("{} {}", found[0], found[1]));
        assert_ne!(one.1, two.1);
    }
    assert_eq!(pairs.len(), 6);
}

#[test]
fn the_staff_of_the_demonstration_is_there() {
    let made = made(SEED, 1);
    let members = |place: usize| &made.network.centres[place].staff;
    let departments = |place: usize, id: &str| -> Vec<String> {
        let member = members(place).iter().find(|member| member.id == id).unwrap();
        member.departments.iter().map(|(id, _)| id.clone()).collect()
    };
    assert_eq!(departments(0, "207"), ["1"]);
    assert_eq!(departments(3, "12"), ["1"]);
    assert_eq!(departments(3, "1"), ["2"]);
    for place in 0..4 {
        let mut names: BTreeMap<&str, &str> = BTreeMap::new();
        for (id, name) in members(place).iter().flat_map(|member| &member.departments) {
            assert_eq!(*names.entry(id).or_insert(name), name, "one number, one department");
        }
    }
}

#[test]
fn cancer_figures_agree() {
    let source = made(SEED, 200).source("USTAN");
    for general in &source.tables["general"] {
        let number = general["chi"].as_str();
        assert!(
            general["date_of_birth"] < general["incidence_date"]
                && general["incidence_date"] < general["first_seen_date"]
        );
        assert_eq!(general["death_flag"] == "true", !general["dat_death"].is_empty());
        let [weight, height, bmi] =
            ["weight", "height", "bmi"].map(|name| general[name].parse::<f64>().unwrap());
        assert!((weight / (height / 100.0).powi(2) - bmi).abs() < 0.06, "{weight} {height} {bmi}");
        assert!((15.0..45.0).contains(&bmi), "{bmi}");
        let cycles = source.of_patient("cycles", "chi", number);
        assert!(!cycles.is_empty());
        for cycle in &cycles {
            assert!(general["first_seen_date"] < cycle["init_appointment_date"]);
            assert_eq!(general["site"], cycle["diagnosis"]);
            let elapsed = days(&cycle["init_appointment_date"], &cycle["appointment_date"]);
            assert_eq!(elapsed.to_string(), cycle["elapsed_days"]);
            assert!(
                general["dat_death"].is_empty() || cycle["appointment_date"] < general["dat_death"]
            );
            assert!(
                cycle["nausea"].is_empty()
                    || (0..=4).contains(&cycle["nausea"].parse::<i64>().unwrap())
            );
        }
        let stays = source.of_patient("smr01", "chi", number);
        assert_eq!(general["smr01_flag"] == "true", !stays.is_empty());
        for stay in stays {
            assert_eq!(
                days(&stay["admission_date"], &stay["discharge_date"]).to_string(),
                stay["length_of_stay"]
            );
        }
    }
}

#[test]
fn hip_figures_agree_and_walking_comes_back() {
    let source = made(SEED, 200).source("ZMC");
    let integer = |row: &source::Row, name: &str| row[name].parse::<i64>().unwrap();
    for row in &source.tables["bloodpressure"] {
        assert!(
            integer(row, "systolic_bloodpressure") > integer(row, "diastolic_bloodpressure") + 20
        );
        assert_eq!(
            row["value"],
            format!("{}/{}", row["systolic_bloodpressure"], row["diastolic_bloodpressure"])
        );
    }
    for row in &source.tables["measurements"] {
        let [length, weight] = ["lengt", "gewct"].map(|name| row[name].parse::<f64>().unwrap());
        assert!(
            (weight / (length / 100.0).powi(2) - row["bmi"].parse::<f64>().unwrap()).abs() < 0.06
        );
    }
    for row in &source.tables["wearable"] {
        assert_eq!(
            integer(row, "time_total"),
            integer(row, "time_passive") + integer(row, "time_active")
        );
        assert!(
            integer(row, "time_total") <= 86_400
                && integer(row, "time_sit") <= integer(row, "time_passive")
        );
        assert_eq!(row["cyc_rpm"].is_empty(), row["time_cycle"] == "0");
    }
    for row in
        source.tables["registered_events"].iter().chain(&source.tables["complaints_and_diagnosis"])
    {
        let [begin, end] = if row.contains_key("start_date") {
            ["start_date", "end_date"]
        } else {
            ["begin_date", "end_date"]
        };
        assert!(row[end].is_empty() || row[begin] <= row[end]);
    }
    let steps = |from: i64| -> i64 {
        let week = source.tables["wearable"]
            .iter()
            .filter(|row| (from..from + 7).contains(&integer(row, "day_nr")));
        week.map(|row| integer(row, "steps_total")).sum()
    };
    assert!(steps(1) * 3 < steps(15) * 2, "{} and {}", steps(1), steps(15));
}

#[test]
fn pictures_are_valid_and_differ() {
    use base64::Engine;
    let source = made(SEED, 40).source("ZMC");
    let pictures =
        source.values("images", "image").into_iter().chain(source.values("documents", "document"));
    let mut count = 0;
    for picture in pictures {
        let bytes = base64::engine::general_purpose::STANDARD.decode(picture).unwrap();
        let mut reader = png::Decoder::new(std::io::Cursor::new(bytes)).read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        assert_eq!(reader.next_frame(&mut pixels).unwrap().width, 16);
        count += 1;
    }
    let rows = source.tables["images"].len() + source.tables["documents"].len();
    assert!(count * 10 > rows * 9, "{count} different pictures in {rows}");
}

#[test]
fn readings_at_home_stand_in_order_and_against_limits() {
    let source = made(SEED, 200).source("FCRB");
    let value = |row: &source::Row, name: &str| row[name].parse::<f64>().unwrap();
    for row in &source.tables["monitoring_params"] {
        assert!(value(row, "wertmin") < value(row, "wertugr"));
        assert!(
            value(row, "wertugr") < value(row, "wertogr")
                && value(row, "wertogr") <= value(row, "wertmax")
        );
    }
    let mut outside = 0;
    for row in &source.tables["vital_signs"] {
        let range = if row["typevs"] == "PULSIOX" { 85.0..=100.0 } else { 40.0..=300.0 };
        assert!(range.contains(&value(row, "vwert")));
        outside += usize::from(!row["vbem"].is_empty());
    }
    let all = source.tables["vital_signs"].len();
    assert!(outside > 0 && outside * 2 < all, "{outside} of {all} readings outside the limits");
    for row in &source.tables["medication"] {
        assert_eq!(row["storn"] == "true", !row["stdat"].is_empty());
        assert!(row["stdat"].is_empty() || row["erdat"] <= row["stdat"]);
    }
    for row in &source.tables["patient"] {
        assert!(row["patnr"].starts_with("00"), "leading zeros are part of a number");
    }
}

#[test]
fn visits_of_the_small_practice_stand_after_birth_and_before_the_last_day() {
    let made = made(SEED, 300);
    let source = made.source("KHM");
    for row in &source.tables["visits"] {
        let birth =
            &source.of_patient("patient_details", "number", &row["number"])[0]["date_of_birth"];
        assert!(birth.as_str() <= row["at"].as_str() && row["at"].as_str() < "2026-10-01");
        assert!(
            row["systolic"].is_empty()
                || row["systolic"].parse::<i64>().unwrap()
                    > row["diastolic"].parse::<i64>().unwrap()
        );
    }
    let sizes: Vec<usize> =
        made.network.centres.iter().map(|centre| centre.patients.len()).collect();
    assert!(sizes[..3].iter().all(|size| sizes[3] < *size), "{sizes:?}");
}
