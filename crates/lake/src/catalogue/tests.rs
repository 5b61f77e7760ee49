use super::*;

const SOUND: &str = r#"
centre = "ZMC"
version = 2
language = "nl"

[tags]
all        = { en = "Everything" }
medication = { en = "Medication", nl = "Medicatie" }
treatments = { en = "Treatments" }

[tables.use]
patient = "patnr"
labels = { en = "Medication in use" }

[tables.use.columns]
patnr   = { type = "text", key = true }
episode = { type = "integer", key = true }
product = { type = "text", tags = ["medication"], labels = { en = "Product" } }
reason  = { type = "text", tags = ["treatments@2", "medication"] }
dose    = { type = "decimal", unit = "mg", tags = ["medication"], since = 2 }
note    = { type = "text", tags = ["all"] }

[tables.doctor]
file = "staff.csv"
patient = { through = "use", on = "episode" }

[tables.doctor.columns]
episode = { type = "integer", key = true }
name    = { type = "text", tags = ["treatments"] }
"#;

/// The holes of the sound catalogue after replacing one text by another.
fn holes(old: &str, new: &str) -> Vec<String> {
    assert!(SOUND.contains(old), "{old}");
    match Catalogue::parse(&SOUND.replacen(old, new, 1)) {
        Ok(_) => Vec::new(),
        Err(CatalogueError(findings)) => findings.iter().map(ToString::to_string).collect(),
    }
}

fn check(old: &str, new: &str, expected: &[&str]) {
    assert_eq!(holes(old, new), expected, "`{old}` -> `{new}`");
}

#[test]
fn columns_with_equal_tags_since_equal_versions_share_a_cell() {
    let catalogue = Catalogue::parse(SOUND).unwrap();
    let vocabulary = catalogue.vocabulary();
    assert_eq!(vocabulary.check(), Ok(()));
    let cell = |table, column| {
        let CellId(cell) = catalogue.cell_of(table, column)?;
        let tags = &vocabulary.cells[usize::from(cell)].tags;
        Some(tags.iter().map(|(tag, since)| format!("{tag}@{since}")).collect::<Vec<_>>().join(" "))
    };
    assert_eq!(cell("use", "product").as_deref(), Some("all@1 medication@1"));
    assert_eq!(cell("use", "reason").as_deref(), Some("all@1 medication@1 treatments@2"));
    assert_eq!(cell("use", "dose").as_deref(), Some("all@2 medication@2"));
    assert_eq!(cell("use", "note").as_deref(), Some("all@1"));
    assert_eq!(cell("doctor", "name").as_deref(), Some("all@1 treatments@1"));
    assert_eq!(cell("use", "patnr"), None);
    assert_eq!(cell("use", "nothing"), None);
    let tags: Vec<_> = vocabulary.tags.iter().map(|tag| tag.name.as_str()).collect();
    assert_eq!(tags, ["all", "medication", "treatments"]);
}

#[test]
fn tables_and_columns_keep_the_order_of_the_file() {
    let catalogue = Catalogue::parse(SOUND).unwrap();
    let tables: Vec<_> = catalogue.tables().iter().map(|table| table.name.as_str()).collect();
    assert_eq!(tables, ["use", "doctor"]);
    let columns: Vec<_> =
        catalogue.tables()[0].columns.iter().map(|column| column.name.as_str()).collect();
    assert_eq!(columns, ["patnr", "episode", "product", "reason", "dose", "note"]);
    assert_eq!(
        [&catalogue.tables()[0].file, &catalogue.tables()[1].file],
        ["use.csv", "staff.csv"]
    );
}

#[test]
fn the_hash_is_of_the_meaning_not_of_the_layout() {
    let hash = |text: &str| Catalogue::parse(text).unwrap().hash();
    let sound = hash(SOUND);
    assert_eq!(hash(&SOUND.replace("= { type", "={type")), sound);
    assert_eq!(
        hash(
            &SOUND.replace(
                "[\"treatments@2\", \"medication\"]",
                "[\"medication\", \"treatments@2\"]"
            )
        ),
        sound
    );
    for (old, new) in [
        ("version = 2", "version = 3"),
        ("ZMC", "USTAN"),
        ("\"mg\"", "\"g\""),
        ("Medicatie", "Medicijnen"),
        ("staff.csv", "doctors.csv"),
    ] {
        assert_ne!(hash(&SOUND.replace(old, new)), sound, "{new}");
    }
}

#[test]
fn holes_of_the_head_are_named_with_their_line() {
    check("", "", &[]);
    check(
        "ZMC",
        "",
        &[
            "catalogue.toml, line 2: the centre's code is no name; a name has 1 to 64 bytes, no control character and no `@`",
        ],
    );
    check(
        "version = 2",
        "version = 0",
        &[
            "catalogue.toml, line 3: the version is 0; versions count up from 1",
            "catalogue.toml, line 19: column `reason` of table `use` cannot have `treatments@2`; versions run from the column's first to the catalogue's",
            "catalogue.toml, line 20: column `dose` of table `use` cannot have `medication`; versions run from the column's first to the catalogue's",
            "catalogue.toml, line 20: column `dose` of table `use` cannot have `since`; versions run from the column's first to the catalogue's",
        ],
    );
    check(
        "\"nl\"",
        "\"Nederlands!\"",
        &[
            "catalogue.toml, line 4: `Nederlands!` is no language; write a BCP 47 tag such as `en` or `nl-BE`",
        ],
    );
}

#[test]
fn holes_of_columns_and_tags_are_named_with_their_line() {
    check(
        "treatments = {",
        "operations = {",
        &[
            "catalogue.toml, line 9: no column carries the tag `operations`; give it to a column or remove it",
            "catalogue.toml, line 19: column `reason` of table `use` carries the tag `treatments`, which [tags] does not declare",
            "catalogue.toml, line 29: column `name` of table `doctor` carries the tag `treatments`, which [tags] does not declare",
        ],
    );
    check(
        "\"text\", tags = [\"all\"]",
        "\"varchar\"",
        &[
            "catalogue.toml, line 21: column `note` of table `use` has the unknown type `varchar`; the types are integer, decimal, date, time, text, boolean, bytes",
            "catalogue.toml, line 21: column `note` of table `use` carries no tag; give it at least one, or mark it as a key",
        ],
    );
    check(
        "[\"all\"]",
        "[\"all\", \"all\"]",
        &["catalogue.toml, line 21: column `note` of table `use` carries the tag `all` twice"],
    );
    check(
        "[\"all\"]",
        "[\"all@2\"]",
        &[
            "catalogue.toml, line 21: column `note` of table `use` cannot have `all@2`; versions run from the column's first to the catalogue's",
        ],
    );
    check(
        "treatments@2",
        "treatments@x",
        &[
            "catalogue.toml, line 19: column `reason` of table `use` cannot have `treatments@x`; versions run from the column's first to the catalogue's",
        ],
    );
    check(
        "patnr   = { type = \"text\", key = true }",
        "patnr = { type = \"text\", key = true, tags = [\"medication\"] }",
        &[
            "catalogue.toml, line 16: column `patnr` of table `use` is a key and carries a tag; keys are never disclosed",
        ],
    );
}

#[test]
fn holes_on_the_way_to_the_patient_are_named_with_their_line() {
    check(
        "patient = \"patnr\"",
        "patient = \"product\"",
        &[
            "catalogue.toml, line 12: table `use` names `product` as its patient number, which is no key column of it",
        ],
    );
    check(
        "through = \"use\"",
        "through = \"doctor\"",
        &[
            "catalogue.toml, line 25: table `doctor` finds its patients through `doctor`, which is no table with a patient number of its own",
        ],
    );
    check(
        "on = \"episode\"",
        "on = \"name\"",
        &[
            "catalogue.toml, line 25: table `doctor` finds its patients by `name`, which table `use` does not have",
        ],
    );
    check(
        "staff.csv",
        "../staff.csv",
        &[
            "catalogue.toml, line 24: the file of table `doctor` is no plain file name; put it into the source folder",
        ],
    );
}

#[test]
fn malformed_toml_names_its_line() {
    check(
        "version = 2",
        "version = two",
        &["catalogue.toml, line 3: invalid boolean, expected `true`"],
    );
    check(
        "version = 2",
        "version = -2",
        &["catalogue.toml, line 3: invalid value: integer `-2`, expected u32"],
    );
    check(
        "unit =",
        "units =",
        &[
            "catalogue.toml, line 20: unknown field `units`, expected one of `type`, `path`, `key`, `hub`, `unit`, `tags`, `since`, `analytics`, `labels`",
        ],
    );
    check(
        "patient = \"patnr\"",
        "patient = 7",
        &["catalogue.toml, line 12: `patient` is a column or { through = a table, on = a column }"],
    );
    check("patient = \"patnr\"", "", &["catalogue.toml, line 11: missing field `patient`"]);
    check("[tables.doctor]", "[tables.use]", &["catalogue.toml, line 23: duplicate key"]);
}

#[test]
fn a_catalogue_of_nothing_is_a_hole() {
    let text = "centre = \"ZMC\"\nversion = 1\nlanguage = \"nl\"\n";
    let CatalogueError(findings) = Catalogue::parse(text).unwrap_err();
    let lines: Vec<_> = findings.iter().map(ToString::to_string).collect();
    assert_eq!(lines, ["catalogue.toml: the catalogue has no table; give it at least one"]);
}

#[test]
fn the_documented_example_is_sound() {
    let lines = include_str!("../catalogue.rs").lines();
    let inside = lines.skip_while(|line| *line != "//! ```toml").skip(1);
    let example = inside.take_while(|line| *line != "//! ```");
    let example = example.fold(String::new(), |text, line| text + &line[3..] + "\n");
    let error = Catalogue::parse(&example).err().map(|error| error.to_string());
    assert_eq!(error, None);
}

#[test]
fn columns_are_anchored_at_hubs() {
    let text = SOUND
        .replace(
            r#"type = "integer", key = true"#,
            r#"type = "integer", key = true, hub = "event:episode""#,
        )
        .replace(
            r#"name    = { type = "text","#,
            r#"name    = { type = "text", hub = "person:professional","#,
        );
    let catalogue = Catalogue::parse(&text).unwrap();
    let anchor = |table: &str, column: &str| {
        let column = catalogue.table(table)?.column(column)?;
        column.anchor.as_ref().map(ToString::to_string)
    };
    assert_eq!(anchor("use", "episode").as_deref(), Some("event:episode"));
    assert_eq!(anchor("doctor", "name").as_deref(), Some("person:professional"));
    assert_eq!(anchor("use", "product"), None);
    assert_eq!(catalogue.tables()[0].event_columns(), [1]);
    assert_ne!(catalogue.hash(), Catalogue::parse(SOUND).unwrap().hash(), "hubs are meaning");
}

#[test]
fn a_hub_that_cannot_be_is_a_hole() {
    let product = r#"product = { type = "text","#;
    let hub = |hub: &str| format!("{product} hub = \"{hub}\",");
    let cannot =
        "catalogue.toml, line 18: column `product` of table `use` cannot be anchored at its hub: ";
    for (text, reason) in [
        ("thing", "there is no such hub; the hubs are time, person, object, location and event"),
        ("person", "a person needs a role, such as `person:professional`"),
        (
            "person:patient",
            "the role `patient` is that of the patient whom the row belongs to; name another role",
        ),
        ("event:", "the role is no name; write for example `person:professional`"),
        ("time:begin", "a time has no role; write `time`"),
    ] {
        check(product, &hub(text), &[&format!("{cannot}{reason}")]);
    }
    let rule = "a time is a `date` or a `time`, every other key is `text` or an `integer`";
    let wrong = format!(
        "catalogue.toml, line 18: column `product` of table `use` is text and cannot be a business key of the hub `time`; {rule}"
    );
    check(product, &hub("time"), &[&wrong]);
    let wrong = format!(
        "catalogue.toml, line 20: column `dose` of table `use` is a decimal number of at most 28 digits and cannot be a business key of the hub `object`; {rule}"
    );
    check(r#"unit = "mg","#, r#"unit = "mg", hub = "object","#, &[&wrong]);
    check(
        product,
        &format!(
            "extra = {{ type = \"text\", key = true, hub = \"event:a\" }}\n{}",
            hub("event:b")
        ),
        &[
            "catalogue.toml, line 19: column `product` of table `use` is anchored at another event than the columns before; a row is about one event",
        ],
    );
    check(
        r#"patnr   = { type = "text", key = true"#,
        r#"patnr   = { type = "text", key = true, hub = "person:client""#,
        &[
            "catalogue.toml, line 16: column `patnr` of table `use` holds the patient number, which is the patient's business key already; remove its `hub`",
        ],
    );
}
