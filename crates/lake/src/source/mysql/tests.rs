use crate::Progress;
use crate::testing::servers::{Running, mariadb};
use crate::testing::{World, comes_again, shown};

const CATALOGUE: &str = r#"
centre = "ZMC"
version = 1
language = "en"

[tags]
medication = { en = "Medication" }
staff = { en = "Staff" }

[sources.his]
type = "mysql"
host = "127.0.0.1"
port = PORT
database = "his"
user = "reader"
password_file = "his.password"
zone = "Europe/Amsterdam"

[tables.use]
from = "his"
select = "medication_use"
where = { ward = "3A" }
patient = "patnr"
[tables.use.columns]
patnr   = { type = "text", path = "patient_number", key = true }
episode = { type = "integer", key = true }
product = { type = "text", tags = ["medication"] }
dose    = { type = "decimal", tags = ["medication"] }
start   = { type = "date", tags = ["medication"] }
noted   = { type = "time", tags = ["medication"] }
told    = { type = "time", tags = ["medication"] }
active  = { type = "boolean", tags = ["medication"] }
scan    = { type = "bytes", tags = ["medication"] }

[tables.doctor]
from = "his"
watermark = "changed"
patient = { through = "use", on = "episode" }
[tables.doctor.columns]
episode = { type = "integer", key = true }
name    = { type = "text", tags = ["staff"] }
"#;

const SCHEMA: &str = "
    CREATE TABLE his.medication_use (
        patient_number int NOT NULL, ward varchar(9), episode bigint, product text,
        dose decimal(9,2), start date, noted timestamp NULL, told datetime(3), active tinyint(1),
        scan longblob, secret text
    );
    CREATE TABLE his.doctor (episode bigint, name text, changed bigint, salary decimal);
    SET time_zone = '+00:00';
    INSERT INTO his.medication_use VALUES
        (4711, '3A', 1, 'aspirin', 80.0, '2024-01-01', '2024-01-01 09:00', '2024-07-01 10:00:00.5',
         true, x'000102', 'never selected'),
        (4712, '3A', 2, 'zoë \"x\"', 1e3, NULL, NULL, NULL, NULL, NULL, 'never selected'),
        (4711, '3A', 1, 'Abacavir', 0.50, NULL, NULL, NULL, false, NULL, 'never selected'),
        (4713, '4B', 3, 'other ward', 1, NULL, NULL, NULL, NULL, NULL, 'never selected');
    INSERT INTO his.doctor VALUES (1, 'Jansen', 1, 1), (2, 'Pietersen', 2, 1);
    CREATE USER reader@localhost IDENTIFIED BY 'pass';
    GRANT SELECT (patient_number, ward, episode, product, dose, start, noted, told, active, scan)
        ON his.medication_use TO reader@localhost;
    GRANT SELECT (episode, name, changed) ON his.doctor TO reader@localhost;
";

fn world(server: &Running) -> World {
    server.sql(SCHEMA);
    let world = World::empty();
    world.write("catalogue.toml", &CATALOGUE.replace("PORT", &server.port.to_string()));
    world.write("his.password", "pass\n");
    world
}

#[test]
fn a_table_is_read_by_its_catalogued_columns_only_and_again_only_when_it_changed() {
    let Some(server) = mariadb() else { return };
    let world = world(&server);
    let lake = world.open();
    // The role may not read the other columns: a query that names one would fail.
    let report = lake.ingest(&world.source()).unwrap();
    assert_eq!((report.patients, report.rows, report.rows_without_patient), (2, 5, 0));
    assert_eq!(
        shown(&lake, "4711"),
        [
            "use: product dose start noted told active scan",
            r#"["Abacavir","0.50",null,null,null,false,null]"#,
            r#"["aspirin","80.00","2024-01-01","2024-01-01T09:00:00Z","2024-07-01T10:00:00.5+02:00",true,"AAEC"]"#,
            "doctor: name",
            r#"["Jansen"]"#,
        ]
    );
    assert_eq!(shown(&lake, "4712")[1], r#"["zoë \"x\"","1000.00",null,null,null,null,null]"#);
    assert!(lake.ingest(&world.source()).unwrap().unchanged);

    // A watermark that stays is taken at its word; one that grows brings the table again.
    server.sql("UPDATE his.doctor SET name = 'Janssen' WHERE episode = 1");
    assert!(lake.ingest(&world.source()).unwrap().unchanged);
    server.sql("UPDATE his.doctor SET changed = 3 WHERE episode = 1");
    assert_eq!(lake.ingest(&world.source()).unwrap().frames, 1, "only what is new in `doctor`");
    assert_eq!(shown(&lake, "4711")[4], r#"["Janssen"]"#);
    // Without one every row counts, wherever the server keeps it.
    server.sql("UPDATE his.medication_use SET secret = 'moved' WHERE dose = 0.50");
    assert!(lake.ingest(&world.source()).unwrap().unchanged);
    server.sql("UPDATE his.medication_use SET active = true WHERE dose = 0.50");
    assert!(!lake.ingest(&world.source()).unwrap().unchanged);
}

#[test]
fn what_was_lost_comes_again_from_the_source() {
    let Some(server) = mariadb() else { return };
    comes_again(&world(&server));
}

#[test]
fn what_is_written_meanwhile_is_not_seen_before_the_next_ingest() {
    let Some(server) = mariadb() else { return };
    let world = world(&server);
    let lake = world.open();
    lake.ingest_with(&world.source(), &mut |step| {
        if matches!(step, Progress::Checked { .. }) {
            server.sql("UPDATE his.medication_use SET product = 'ibuprofen'");
        }
    })
    .unwrap();
    assert!(shown(&lake, "4711")[2].contains("aspirin"));
    assert!(!lake.ingest(&world.source()).unwrap().unchanged);
    assert!(shown(&lake, "4711")[1].contains("ibuprofen"));
}

#[test]
fn what_is_wrong_with_a_database_is_named_and_no_value_shown() {
    let Some(server) = mariadb() else { return };
    let world = world(&server);
    let report = |old: &str, new: &str| {
        let text = CATALOGUE.replace("PORT", &server.port.to_string());
        assert!(text.contains(old), "{old}");
        world.write("catalogue.toml", &text.replacen(old, new, 1));
        let report = crate::check(&world.source()).to_string();
        report.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(report("", ""), ["no holes; 2 tables and 5 rows read"]);
    assert_eq!(
        report("path = \"patient_number\"", "path = \"number\"")[1],
        "his.medication_use: column `patnr` of the catalogue is not in the file"
    );
    assert_eq!(
        report("zone = \"Europe/Amsterdam\"", "")[1],
        "his.medication_use: column `told` holds times without a zone; say in `zone` of the source which it is"
    );
    world.write("his.password", "wrong");
    assert_eq!(
        report("", "")[0],
        "his.doctor: the database cannot be read: the server refuses the user or the password"
    );
}
